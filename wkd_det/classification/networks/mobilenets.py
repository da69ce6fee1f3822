"""MobileNets, of depthwise convolutions: V1 for ImageNet and V2 for CIFAR."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.networks.layers import (
    convolution,
    global_pool,
    init_convolutions,
    linear_classifier,
    stage,
)

# Output channels and stride of the thirteen depthwise separable blocks.
_V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


class MobileNetV1(nn.Module):
    """MobileNetV1 at full width: one convolution and thirteen depthwise separable blocks.

    Feature maps by module name, for a 224 x 224 input: ``model.3`` (``(N, 128, 56, 56)``),
    ``model.5`` (``(N, 256, 28, 28)``), ``model.11`` (``(N, 512, 14, 14)``), ``model.13``
    (``(N, 1024, 7, 7)``), all after the ReLU; the maps before it are ``model.3.4``,
    ``model.5.4``, ``model.11.4`` and ``model.13.4``. ``pool`` gives the pooled features
    ``(N, 1024)``, ``fc`` the logits.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If ``num_classes < 1``.

    References: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile
        Vision Applications, arXiv:1704.04861.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('model.3', 'model.5', 'model.11', 'model.13')

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = num_classes
        channels = 32
        blocks = [nn.Sequential(*convolution(3, channels, 3, stride=2))]
        for out_channels, stride in _V1_BLOCKS:
            depthwise = convolution(channels, channels, 3, stride, groups=channels)
            blocks.append(nn.Sequential(*depthwise, *convolution(channels, out_channels, 1)))
            channels = out_channels
        self.model = nn.Sequential(*blocks)
        self.pool = global_pool()
        self.fc = linear_classifier(channels, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 224, 224)``."""
        return self.fc(self.pool(self.model(images)))


# Channels at full width, number of blocks and stride per stage; unlike in the ImageNet network
# the second stage keeps its resolution.
_V2_STAGES = (
    (16, 1, 1),
    (24, 2, 1),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 with a total stride of 16 instead of 32 and ReLU instead of ReLU6.

    The first stage, which does not expand, has its 1 x 1 convolution all the same.

    Feature maps by module name, for a 32 x 32 input and half width: ``conv1``
    (``(N, 16, 16, 16)``, after the ReLU), ``blocks.1`` (``(N, 12, 16, 16)``), ``blocks.2``
    (``(N, 16, 8, 8)``), ``blocks.4`` (``(N, 48, 4, 4)``), ``blocks.6`` (``(N, 160, 2, 2)``); the
    ``blocks`` are linear bottlenecks, so no ReLU follows these four. ``conv2`` is the rectified
    map ``(N, 1280, 2, 2)`` after the last block, ``pool`` gives the pooled features
    ``(N, 1280)``, ``classifier`` the logits.

    Args:
        num_classes: Number of classes.
        width: Multiplies all channels but the 1280 of the last convolution.
        expansion: Factor by which every stage but the first widens inside its blocks.

    Raises:
        ValueError: If ``width < 1/16``, ``expansion < 1`` or ``num_classes < 1``.

    References: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
    """

    feature_modules: ClassVar[tuple[str, ...]] = (
        'conv1',
        'blocks.1',
        'blocks.2',
        'blocks.4',
        'blocks.6',
    )

    def __init__(self, num_classes: int = 100, *, width: float = 0.5, expansion: int = 6) -> None:
        super().__init__()
        if width < 1 / 16:  # the narrowest stage has 16 channels
            raise ValueError(f'width must be at least 1/16, got {width}')
        if expansion < 1:
            raise ValueError(f'expansion must be at least 1, got {expansion}')
        channels = int(32 * width)
        self.conv1 = nn.Sequential(*convolution(3, channels, 3, stride=2))
        stages = []
        for index, (full_width, num_blocks, stride) in enumerate(_V2_STAGES):
            out_channels = int(full_width * width)
            block = partial(_InvertedResidual, expansion=expansion if index > 0 else 1)
            first = block(channels, out_channels, stride)
            stages.append(stage(first, partial(block, out_channels, out_channels, 1), num_blocks))
            channels = out_channels
        self.blocks = nn.Sequential(*stages)
        self.conv2 = nn.Sequential(*convolution(channels, 1280, 1))
        self.pool = global_pool()
        self.classifier = nn.Sequential(linear_classifier(1280, num_classes, weight_std=0.01))
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.conv2(self.blocks(self.conv1(images)))
        return self.classifier(self.pool(features))


class _InvertedResidual(nn.Module):
    """Widens, convolves each channel by itself, and narrows without an activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.is_residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *convolution(in_channels, hidden, 1),
            *convolution(hidden, hidden, 3, stride, groups=hidden),
            *convolution(hidden, out_channels, 1, activate=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)
