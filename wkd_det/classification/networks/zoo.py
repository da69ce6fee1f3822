"""Networks by name: the CIFAR networks of public checkpoints, those of timm and torchvision.

Each function is a ``type`` of configs and returns a network whose output is logits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torchvision
from torch import nn

from wkd_det.classification.networks.mobilenets import MobileNetV2
from wkd_det.classification.networks.resnets import CifarResNet, FourStageResNet, WideResNet
from wkd_det.classification.networks.shufflenets import ShuffleNetV1, ShuffleNetV2
from wkd_det.classification.networks.vgg import VGG
from wkd_det.runtime.config import near_matches
from wkd_det.runtime.timm_networks import timm_network

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
"""Names of the CIFAR networks."""


def CifarModel(name: str, num_classes: int = 100) -> nn.Module:  # noqa: N802  reads as a type
    """Return a CIFAR network whose state_dict has the keys of the public CRD checkpoints.

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


def TimmModel(  # noqa: N802  reads as a type
    name: str, num_classes: int = 1000, **options: Any
) -> nn.Module:
    """Return a network of timm, untouched and with random weights.

    Its weights are ``'timm://NAME'`` wherever a checkpoint is asked for; see
    :func:`wkd_det.runtime.checkpoints.read_checkpoint`.

    Args:
        name: As ``timm.list_models`` lists it, e.g. ``'swin_tiny_patch4_window7_224'``.
        num_classes: Number of classes; timm keeps it as ``network.num_classes``.
        **options: Options of the network, e.g. ``embed_dim`` or ``drop_path_rate``.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If the name is unknown.
    """
    return timm_network('TimmModel', name, num_classes=num_classes, **options)


def TorchvisionModel(  # noqa: N802  reads as a type
    name: str, num_classes: int = 1000, **options: Any
) -> nn.Module:
    """Return a classification network of torchvision, untouched and with random weights.

    Its weights are ``'torchvision://NAME'`` wherever a checkpoint is asked for; see
    :func:`wkd_det.runtime.checkpoints.read_checkpoint`.

    Args:
        name: As ``torchvision.models.list_models`` lists it, e.g. ``'resnet18'``.
        num_classes: Number of classes; kept as ``network.num_classes``.
        **options: Options of the network, e.g. ``dropout``.

    Raises:
        ValueError: If the name is unknown.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f'name is no network of torchvision: {near_matches(name, known)}')
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    network.num_classes = num_classes
    return network
