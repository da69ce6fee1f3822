"""MobileNetV1 for ImageNet.

Feature maps by module name, for a 224 x 224 input: ``model.3`` (``(N, 128, 56, 56)``),
``model.5`` (``(N, 256, 28, 28)``), ``model.11`` (``(N, 512, 14, 14)``), ``model.13``
(``(N, 1024, 7, 7)``), all after the ReLU; the maps before it are ``model.3.4``, ``model.5.4``,
``model.11.4`` and ``model.13.4``. ``pool`` gives the pooled features ``(N, 1024)``, ``fc`` the
logits.
"""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.classification.models.layers import (
    global_pool,
    init_convolutions,
    linear_classifier,
)

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


@MODELS.register_module()
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
