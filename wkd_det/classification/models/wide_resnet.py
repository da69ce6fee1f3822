"""Wide residual networks (wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2).

Feature maps by module name, for a 32 x 32 input and widening factor ``k``: ``conv1``
(``(N, 16, 32, 32)``), ``block1`` (``(N, 16 k, 32, 32)``), ``block2`` (``(N, 32 k, 16, 16)``),
``block3`` (``(N, 64 k, 8, 8)``). A pre-activation network: all four are sums that no batch norm
or ReLU has seen yet. ``relu`` is ``block3`` after both; the normalised, not yet rectified maps
are ``block2.layer.0.bn1``, ``block3.layer.0.bn1`` and ``bn1``. ``pool`` gives the pooled
features ``(N, 64 k)``, ``fc`` the logits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.models.layers import (
    global_pool,
    init_convolutions,
    linear_classifier,
)


class _PreActivationBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.convShortcut = (  # the name in the public checkpoints
            None
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu1(self.bn1(x))
        residual = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        # The identity carries the raw input; a projection reads the activated one.
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        return shortcut + residual


def _stage(in_channels: int, out_channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    first = _PreActivationBlock(in_channels, out_channels, stride)
    rest = (_PreActivationBlock(out_channels, out_channels, 1) for _ in range(num_blocks - 1))
    return nn.Sequential(OrderedDict(layer=nn.Sequential(first, *rest)))


class WideResNet(nn.Module):
    """Wide ResNet of depth ``6 n + 4``, ``n`` blocks per stage, without dropout.

    Args:
        depth: Convolutions on the main path plus one shortcut per stage.
        widen_factor: Multiplies the 16, 32 and 64 channels of the three stages.
        num_classes: Number of classes.

    Raises:
        ValueError: If the depth is not ``6 n + 4``, ``widen_factor < 1`` or
            ``num_classes < 1``.

    References: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('conv1', 'block1', 'block2', 'block3')

    def __init__(self, depth: int, widen_factor: int = 1, num_classes: int = 100) -> None:
        super().__init__()
        num_blocks, remainder = divmod(depth - 4, 6)
        if num_blocks < 1 or remainder:
            raise ValueError(f'depth must be 6 n + 4 with n >= 1, got {depth}')
        if widen_factor < 1:
            raise ValueError(f'widen_factor must be at least 1, got {widen_factor}')
        width1, width2, width3 = (widen_factor * width for width in (16, 32, 64))

        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _stage(16, width1, num_blocks, 1)
        self.block2 = _stage(width1, width2, num_blocks, 2)
        self.block3 = _stage(width2, width3, num_blocks, 2)
        self.bn1 = nn.BatchNorm2d(width3)
        self.relu = nn.ReLU()
        self.pool = global_pool()
        self.fc = linear_classifier(width3, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        return self.fc(self.pool(self.relu(self.bn1(features))))
