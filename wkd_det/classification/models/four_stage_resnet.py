"""ResNets with the four stages of the ImageNet networks, on small images (ResNet18, ResNet50).

The stem is one 3 x 3 convolution of stride 1 without max pooling. mdistiller keeps these in a
file named resnetv2; they have nothing to do with the pre-activation ResNet-v2.

Feature maps by module name, for a 32 x 32 input: ``relu`` (``(N, 64, 32, 32)``), ``layer1``
(``(N, 64 e, 32, 32)``), ``layer2`` (``(N, 128 e, 16, 16)``), ``layer3`` (``(N, 256 e, 8, 8)``),
``layer4`` (``(N, 512 e, 4, 4)``), all after the ReLU; ``e`` is 1 for basic blocks and 4 for
bottlenecks. The map before the ReLU is the *input* of the last ReLU of the stage's last block,
``layer4.<n - 1>.relu2`` (``relu3`` in a bottleneck). ``pool`` gives the pooled features
``(N, 512 e)``, ``linear`` the logits.
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


class FourStageResNet(nn.Module):
    """ResNet with stages of 64, 128, 256 and 512 channels and a stem for small images.

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
        self.layer1 = residual_stage(block, 64, 64, n1, 1, name)
        self.layer2 = residual_stage(block, 64 * expansion, 128, n2, 2, name)
        self.layer3 = residual_stage(block, 128 * expansion, 256, n3, 2, name)
        self.layer4 = residual_stage(block, 256 * expansion, 512, n4, 2, name)
        self.pool = global_pool()
        self.linear = linear_classifier(512 * expansion, num_classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images ``(N, 3, 32, 32)``."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.linear(self.pool(features))
