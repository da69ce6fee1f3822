"""ResNets with three stages, made for CIFAR (resnet8 ... resnet110, resnet8x4, resnet32x4).

Feature maps by module name, for a 32 x 32 input and stage widths ``w1, w2, w3``:
``relu`` (``(N, stem, 32, 32)``), ``layer1`` (``(N, w1, 32, 32)``), ``layer2``
(``(N, w2, 16, 16)``), ``layer3`` (``(N, w3, 8, 8)``), all after the ReLU; bottlenecks have
``4 * w`` channels. The map before the ReLU is the *input* of the last ReLU of the stage's last
block, ``layer3.<n - 1>.relu2`` (``relu3`` in a bottleneck). ``pool`` gives the pooled
features ``(N, w3)``, ``fc`` the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.models.layers import (
    global_pool,
    init_convolutions,
    linear_classifier,
)
from wkd_det.classification.models.residual_block import BasicBlock, Bottleneck, residual_stage


class CifarResNet(nn.Module):
    """ResNet of depth ``6 n + 2`` (basic blocks) or ``9 n + 2`` (bottlenecks).

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
        self.layer1 = residual_stage(block, stem, width1, num_blocks, 1, name)
        self.layer2 = residual_stage(block, expansion * width1, width2, num_blocks, 2, name)
        self.layer3 = residual_stage(block, expansion * width2, width3, num_blocks, 2, name)
        self.pool = global_pool()
        self.fc = linear_classifier(expansion * width3, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.fc(self.pool(features))
