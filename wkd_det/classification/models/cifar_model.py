"""The CIFAR networks of the public teacher checkpoints, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mmdet.registry import MODELS
from torch import nn

from wkd_det.classification.models.cifar_resnet import CifarResNet
from wkd_det.classification.models.four_stage_resnet import FourStageResNet
from wkd_det.classification.models.mobilenet_v2 import MobileNetV2
from wkd_det.classification.models.shufflenet_v1 import ShuffleNetV1
from wkd_det.classification.models.shufflenet_v2 import ShuffleNetV2
from wkd_det.classification.models.vgg import VGG
from wkd_det.classification.models.wide_resnet import WideResNet
from wkd_det.distillation.strict import near_matches

_WIDTHS_X4 = (32, 64, 128, 256)

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    'resnet8': partial(CifarResNet, 8),
    'resnet14': partial(CifarResNet, 14),
    'resnet20': partial(CifarResNet, 20),
    'resnet32': partial(CifarResNet, 32),
    'resnet44': partial(CifarResNet, 44),
    'resnet56': partial(CifarResNet, 56),
    'resnet110': partial(CifarResNet, 110),
    'resnet8x4': partial(CifarResNet, 8, widths=_WIDTHS_X4),
    'resnet32x4': partial(CifarResNet, 32, widths=_WIDTHS_X4),
    'ResNet18': partial(FourStageResNet, (2, 2, 2, 2)),
    'ResNet50': partial(FourStageResNet, (3, 4, 6, 3), bottleneck=True),
    'wrn_16_1': partial(WideResNet, 16, 1),
    'wrn_16_2': partial(WideResNet, 16, 2),
    'wrn_40_1': partial(WideResNet, 40, 1),
    'wrn_40_2': partial(WideResNet, 40, 2),
    'vgg8': partial(VGG, 8),
    'vgg11': partial(VGG, 11),
    'vgg13': partial(VGG, 13),
    'vgg16': partial(VGG, 16),
    'vgg19': partial(VGG, 19),
    'MobileNetV2': MobileNetV2,
    'ShuffleV1': ShuffleNetV1,
    'ShuffleV2': ShuffleNetV2,
}

CIFAR_NETWORKS: tuple[str, ...] = tuple(_BUILDERS)


@MODELS.register_module()
def CifarModel(name: str, num_classes: int = 100) -> nn.Module:  # noqa: N802  reads as a type
    """Build a CIFAR network whose state_dict has the keys of the public CRD checkpoints.

    Convention:
        - Called with images ``(N, 3, 32, 32)`` the network returns logits ``(N, num_classes)``.
        - ``network.feature_modules`` names the modules whose outputs are its feature maps, from
          fine to coarse; the module ``pool`` gives the pooled features ``(N, C)``.
        - No activation works in place, so a hook may keep what it sees.

    Args:
        name: One of ``CIFAR_NETWORKS``.
        num_classes: Number of classes; kept as ``network.num_classes``.

    Raises:
        ValueError: If the name is unknown or ``num_classes < 1``.

    References: Tian et al., Contrastive Representation Distillation, ICLR 2020 (the networks and
        their checkpoints).
    """
    if name not in _BUILDERS:
        raise ValueError(f'name is no CIFAR network: {near_matches(name, CIFAR_NETWORKS)}')
    network = _BUILDERS[name](num_classes=num_classes)
    network.num_classes = num_classes
    return network
