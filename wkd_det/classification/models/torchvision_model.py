"""Networks of torchvision."""

from __future__ import annotations

from typing import Any

import torchvision
from mmdet.registry import MODELS
from torch import nn

from wkd_det.distillation.strict import near_matches


@MODELS.register_module()
def TorchvisionModel(  # noqa: N802  reads as a type
    name: str, num_classes: int = 1000, **options: Any
) -> nn.Module:
    """Build a classification network of torchvision, untouched and with random weights.

    Its weights are ``'torchvision://NAME'`` wherever a checkpoint is asked for; see
    :func:`wkd_det.checkpoint.read_checkpoint`.

    Args:
        name: As ``torchvision.models.list_models`` lists it, e.g. ``'resnet18'``.
        num_classes: Number of classes; kept as ``network.num_classes``.
        **options: Of the network, e.g. ``dropout``.

    Raises:
        ValueError: If the name is unknown.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f'name is no network of torchvision: {near_matches(name, known)}')
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    network.num_classes = num_classes
    return network
