"""VGG networks with batch norm and a single linear layer (vgg8 ... vgg19)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.networks.layers import (
    convolution,
    global_pool,
    init_convolutions,
    linear_classifier,
)
from wkd_det.ops.checks import check_choice

_CONVOLUTIONS_PER_BLOCK = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """VGG for small images: max pooling after the first three blocks only.

    Feature maps by module name, for a 32 x 32 input: ``block0`` (``(N, 64, 32, 32)``), ``block1``
    (``(N, 128, 16, 16)``), ``block2`` (``(N, 256, 8, 8)``), ``block3`` and ``block4``
    (``(N, 512, 4, 4)``), all after the ReLU. A block is a Sequential of (convolution, batch norm,
    ReLU); the map before the last ReLU is the last batch norm, ``block3.<3 n - 2>`` with ``n``
    convolutions in the block. ``pool`` gives the pooled features ``(N, 512)``, ``classifier`` the
    logits.

    Args:
        depth: 8, 11, 13, 16 or 19. From 11 on, the ImageNet network with the same convolutions
            has this depth; here one linear layer stands in for its three.
        num_classes: Number of classes.

    Raises:
        ValueError: If the depth is not one of those or ``num_classes < 1``.

    References: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015.
    """

    feature_modules: ClassVar[tuple[str, ...]] = ('block0', 'block1', 'block2', 'block3', 'block4')

    def __init__(self, depth: int, num_classes: int = 100) -> None:
        super().__init__()
        check_choice(_CONVOLUTIONS_PER_BLOCK, depth=depth)
        counts = _CONVOLUTIONS_PER_BLOCK[depth]

        self.block0 = _block(3, 64, counts[0])
        self.block1 = _block(64, 128, counts[1])
        self.block2 = _block(128, 256, counts[2])
        self.block3 = _block(256, 512, counts[3])
        self.block4 = _block(512, 512, counts[4])
        self.max_pool = nn.MaxPool2d(2)
        self.pool = global_pool()
        self.classifier = linear_classifier(512, num_classes, weight_std=0.01)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.max_pool(self.block0(images))
        features = self.max_pool(self.block1(features))
        features = self.max_pool(self.block2(features))
        return self.classifier(self.pool(self.block4(self.block3(features))))


def _block(in_channels: int, out_channels: int, num_convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in [in_channels] + [out_channels] * (num_convolutions - 1):
        layers += convolution(channels, out_channels, 3, bias=True)
    return nn.Sequential(*layers)
