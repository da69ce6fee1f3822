"""Networks of timm."""

from __future__ import annotations

from typing import Any

from mmdet.registry import MODELS
from torch import nn

from wkd_det.distillation.strict import near_matches


@MODELS.register_module()
def TimmModel(  # noqa: N802  reads as a type
    name: str, num_classes: int = 1000, **options: Any
) -> nn.Module:
    """Build a network of timm, untouched and with random weights.

    Its weights are ``'timm://NAME'`` wherever a checkpoint is asked for; see
    :func:`wkd_det.checkpoint.read_checkpoint`.

    Args:
        name: As ``timm.list_models`` lists it, e.g. ``'swin_tiny_patch4_window7_224'``.
        num_classes: Number of classes; timm keeps it as ``network.num_classes``.
        **options: Of the network, e.g. ``embed_dim`` or ``drop_path_rate``.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If the name is unknown.
    """
    try:
        import timm
    except ImportError:
        raise ImportError('TimmModel needs timm: pip install timm') from None
    if not timm.is_model(name):
        raise ValueError(f'name is no network of timm: {near_matches(name, timm.list_models())}')
    return timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
