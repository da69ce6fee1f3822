"""MobileNetV1 for ImageNet.

Feature maps by module name, for a 224 x 224 input: ``model.3`` (``(N, 128, 56, 56)``),
``model.5`` (``(N, 256, 28, 28)``), ``model.11`` (``(N, 512, 14, 14)``), ``model.13``
(``(N, 1024, 7, 7)``), all after the ReLU; the maps before it are ``model.3.4``, ``model.5.4``,
``model.11.4`` and ``model.13.4``. ``pool`` gives the pooled features ``(N, 1024)``, ``fc`` the
logits.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.networks.layers import global_pool, init_convolutions, linear_classifier

# Output channels and stride of the thirteen depthwise separable blocks.
_BLOCKS = (
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


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


class MobileNetV1(nn.Module):
    """MobileNetV1 at full width: one convolution and thirteen depthwise separable blocks.

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
        blocks = [nn.Sequential(*_convolution(3, channels, 3, stride=2))]
        for out_channels, stride in _BLOCKS:
            depthwise = _convolution(channels, channels, 3, stride, groups=channels)
            blocks.append(nn.Sequential(*depthwise, *_convolution(channels, out_channels, 1)))
            channels = out_channels
        self.model = nn.Sequential(*blocks)
        self.pool = global_pool()
        self.fc = linear_classifier(channels, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, 3, 224, 224)``."""
        return self.fc(self.pool(self.model(images)))


# Channels at full width, number of blocks and stride of each stage; against the ImageNet
# network the second stage keeps its resolution.
_STAGES = (
    (16, 1, 1),
    (24, 2, 1),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.is_residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 with a total stride of 16 instead of 32 and ReLU instead of ReLU6.

    The first stage, which does not expand, has its 1 x 1 convolution all the same.

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

        self.conv1 = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        stages = []
        for index, (full_width, num_blocks, stride) in enumerate(_STAGES):
            stage = nn.Sequential()
            for block in range(num_blocks):
                out_channels = int(full_width * width)
                stage.append(
                    _InvertedResidual(
                        channels,
                        out_channels,
                        stride if block == 0 else 1,
                        expansion if index > 0 else 1,
                    )
                )
                channels = out_channels
            stages.append(stage)
        self.blocks = nn.Sequential(*stages)
        self.conv2 = nn.Sequential(
            nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU()
        )
        self.pool = global_pool()
        self.classifier = nn.Sequential(linear_classifier(1280, num_classes, weight_std=0.01))
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.conv2(self.blocks(self.conv1(images)))
        return self.classifier(self.pool(features))
