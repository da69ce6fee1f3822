"""Residual networks for CIFAR: three stages, four stages, and wide ones.

The two kinds of ResNet share their blocks; in the keys of their checkpoints only the name of the
shortcut differs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.networks.layers import (
    global_pool,
    init_convolutions,
    linear_classifier,
    stage,
)
from wkd_det.ops.checks import check_booleans, check_choice


class CifarResNet(nn.Module):
    """ResNet of depth ``6 n + 2`` (basic blocks) or ``9 n + 2`` (bottlenecks).

    These are resnet8 ... resnet110, resnet8x4 and resnet32x4.

    Feature maps by module name, for a 32 x 32 input and stage widths ``w1, w2, w3``: ``relu``
    (``(N, stem, 32, 32)``), ``layer1`` (``(N, w1, 32, 32)``), ``layer2`` (``(N, w2, 16, 16)``),
    ``layer3`` (``(N, w3, 8, 8)``), all after the ReLU; bottlenecks have ``4 * w`` channels. The
    map before the ReLU is the *input* of the last ReLU of the stage's last block,
    ``layer3.<n - 1>.relu2`` (``relu3`` in a bottleneck). ``pool`` gives the pooled features
    ``(N, w3)``, ``fc`` the logits.

    Args:
        depth: Number of weighted layers, shortcuts not counted.
        num_classes: Number of classes.
        widths: Channels of the stem and of the three stages.
        bottleneck: Use bottlenecks, whose outputs are four times as wide as ``widths`` says.

    Raises:
        ValueError: If the depth is not of the right form, ``widths`` is not four positive
            numbers or ``num_classes < 1``.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('relu', 'layer1', 'layer2', 'layer3')

    def __init__(
        self,
        depth: int,
        num_classes: int = 100,
        *,
        widths: Sequence[int] = (16, 16, 32, 64),
        bottleneck: bool = False,
    ) -> None:
        check_booleans(bottleneck=bottleneck)
        super().__init__()
        layers_per_n = 9 if bottleneck else 6
        num_blocks, remainder = divmod(depth - 2, layers_per_n)
        if num_blocks < 1 or remainder:
            raise ValueError(
                f'depth must be {layers_per_n} n + 2 with n >= 1 '
                f'(bottleneck={bottleneck}), got {depth}'
            )
        if len(widths) != 4 or min(widths) < 1:
            raise ValueError(f'widths must be 4 positive numbers (stem, 3 stages), got {widths}')
        stem, width1, width2, width3 = widths
        block = Bottleneck if bottleneck else BasicBlock
        expansion = block.expansion
        name = 'downsample'

        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.layer1 = _residual_stage(block, stem, width1, num_blocks, 1, name)
        self.layer2 = _residual_stage(block, expansion * width1, width2, num_blocks, 2, name)
        self.layer3 = _residual_stage(block, expansion * width2, width3, num_blocks, 2, name)
        self.pool = global_pool()
        self.fc = linear_classifier(expansion * width3, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.fc(self.pool(features))


class FourStageResNet(nn.Module):
    """ResNet with stages of 64, 128, 256 and 512 channels and a stem for small images.

    These are ResNet18 and ResNet50 on small images: the four stages of the ImageNet networks
    after a stem of one 3 x 3 convolution of stride 1 without max pooling. mdistiller keeps them
    in a file named resnetv2; they have nothing to do with the pre-activation ResNet-v2.

    Feature maps by module name, for a 32 x 32 input: ``relu`` (``(N, 64, 32, 32)``), ``layer1``
    (``(N, 64 e, 32, 32)``), ``layer2`` (``(N, 128 e, 16, 16)``), ``layer3``
    (``(N, 256 e, 8, 8)``), ``layer4`` (``(N, 512 e, 4, 4)``), all after the ReLU; ``e`` is 1 for
    basic blocks and 4 for bottlenecks. The map before the ReLU is the *input* of the last ReLU of
    the stage's last block, ``layer4.<n - 1>.relu2`` (``relu3`` in a bottleneck). ``pool`` gives
    the pooled features ``(N, 512 e)``, ``linear`` the logits.

    Args:
        num_blocks: Blocks per stage, ``(2, 2, 2, 2)`` for ResNet18, ``(3, 4, 6, 3)`` for
            ResNet34 (basic) and ResNet50 (bottleneck).
        num_classes: Number of classes.
        bottleneck: Use bottlenecks, whose outputs are four times as wide.

    Raises:
        ValueError: If ``num_blocks`` is not four positive numbers or ``num_classes < 1``.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('relu', 'layer1', 'layer2', 'layer3', 'layer4')

    def __init__(
        self, num_blocks: Sequence[int], num_classes: int = 100, *, bottleneck: bool = False
    ) -> None:
        check_booleans(bottleneck=bottleneck)
        super().__init__()
        if len(num_blocks) != 4 or min(num_blocks) < 1:
            raise ValueError(f'num_blocks must be 4 positive numbers, got {num_blocks}')
        n1, n2, n3, n4 = num_blocks
        block = Bottleneck if bottleneck else BasicBlock
        expansion = block.expansion
        name = 'shortcut'

        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = _residual_stage(block, 64, 64, n1, 1, name)
        self.layer2 = _residual_stage(block, 64 * expansion, 128, n2, 2, name)
        self.layer3 = _residual_stage(block, 128 * expansion, 256, n3, 2, name)
        self.layer4 = _residual_stage(block, 256 * expansion, 512, n4, 2, name)
        self.pool = global_pool()
        self.linear = linear_classifier(512 * expansion, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.linear(self.pool(features))


class WideResNet(nn.Module):
    """Wide ResNet of depth ``6 n + 4``, ``n`` blocks per stage, without dropout.

    These are wrn_16_1, wrn_16_2, wrn_40_1 and wrn_40_2, and any other of its kind by
    ``dict(type='WideResNet', depth=10, widen_factor=2)``.

    Feature maps by module name, for a 32 x 32 input and widening factor ``k``: ``conv1``
    (``(N, 16, 32, 32)``), ``block1`` (``(N, 16 k, 32, 32)``), ``block2`` (``(N, 32 k, 16, 16)``),
    ``block3`` (``(N, 64 k, 8, 8)``), each of half the side behind a stem of stride 2. A
    pre-activation network: all four are sums that no batch
    norm or ReLU has seen yet. ``relu`` is ``block3`` after both; the normalised, not yet
    rectified maps are ``block2.layer.0.bn1``, ``block3.layer.0.bn1`` and ``bn1``. ``pool`` gives
    the pooled features ``(N, 64 k)``, ``fc`` the logits.

    Args:
        depth: Convolutions on the main path plus one shortcut per stage.
        widen_factor: Multiplies the 16, 32 and 64 channels of the three stages.
        num_classes: Number of classes; kept as ``network.num_classes``.
        stem_stride: Stride of the first convolution, 1 or 2. With 2 the network costs a quarter,
            on a CPU too, and loses accuracy on small images.

    Raises:
        ValueError: If the depth is not ``6 n + 4``, ``widen_factor < 1``, ``num_classes < 1`` or
            ``stem_stride`` is neither 1 nor 2.

    References: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('conv1', 'block1', 'block2', 'block3')

    def __init__(
        self, depth: int, widen_factor: int = 1, num_classes: int = 100, *, stem_stride: int = 1
    ) -> None:
        super().__init__()
        num_blocks, remainder = divmod(depth - 4, 6)
        if num_blocks < 1 or remainder:
            raise ValueError(f'depth must be 6 n + 4 with n >= 1, got {depth}')
        if widen_factor < 1:
            raise ValueError(f'widen_factor must be at least 1, got {widen_factor}')
        check_choice((1, 2), stem_stride=stem_stride)
        self.num_classes = num_classes
        width1, width2, width3 = (widen_factor * width for width in (16, 32, 64))

        self.conv1 = nn.Conv2d(3, 16, 3, stem_stride, padding=1, bias=False)
        self.block1 = _wide_stage(16, width1, num_blocks, 1)
        self.block2 = _wide_stage(width1, width2, num_blocks, 2)
        self.block3 = _wide_stage(width2, width3, num_blocks, 2)
        self.bn1 = nn.BatchNorm2d(width3)
        self.relu = nn.ReLU()
        self.pool = global_pool()
        self.fc = linear_classifier(width3, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        return self.fc(self.pool(self.relu(self.bn1(features))))


def _residual_stage(
    block: type[BasicBlock | Bottleneck],
    in_channels: int,
    width: int,
    num_blocks: int,
    stride: int,
    shortcut_name: str,
) -> nn.Sequential:
    first = block(in_channels, width, stride, shortcut_name)
    more = partial(block, block.expansion * width, width, 1, shortcut_name)
    return stage(first, more, num_blocks)


def _wide_stage(in_channels: int, out_channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    first = _PreActivationBlock(in_channels, out_channels, stride)
    blocks = stage(first, partial(_PreActivationBlock, out_channels, out_channels, 1), num_blocks)
    return nn.Sequential(OrderedDict(layer=blocks))  # the name in the public checkpoints


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, added to a shortcut.

    Each activation is a module of its own that is called once, so that a hook on the last,
    ``relu2``, sees the block's pre-activation as its input.

    Args:
        in_channels: Channels of the input, shape ``(N, in_channels, H, W)``.
        width: Channels of the output, shape ``(N, width, H / stride, W / stride)``.
        stride: Stride of the first convolution and of the shortcut.
        shortcut_name: Name of the shortcut in the state_dict.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, shortcut_name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut_name = shortcut_name
        self.add_module(shortcut_name, _shortcut(in_channels, width, stride))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + getattr(self, self.shortcut_name)(x))


class Bottleneck(nn.Module):
    """Convolutions 1 x 1, 3 x 3 and 1 x 1, added to a shortcut; the stride sits in the second.

    Args:
        in_channels: Channels of the input, shape ``(N, in_channels, H, W)``.
        width: Channels of the 3 x 3 convolution; the output has shape
            ``(N, 4 * width, H / stride, W / stride)``.
        stride: Stride of the 3 x 3 convolution and of the shortcut.
        shortcut_name: Name of the shortcut in the state_dict.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, shortcut_name: str) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu3 = nn.ReLU()
        self.shortcut_name = shortcut_name
        self.add_module(shortcut_name, _shortcut(in_channels, out_channels, stride))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu3(out + getattr(self, self.shortcut_name)(x))


class _PreActivationBlock(nn.Module):
    """Normalisation and ReLU before each of two 3 x 3 convolutions, added to a shortcut."""

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


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )
