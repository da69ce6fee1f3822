"""Widths and strides of detectors, read from a model or from its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def level_widths(model: Any, place: str) -> list[int]:
    """Channels of each level of the backbone or the neck.

    Args:
        model: A detector, or its model config.
        place: ``'neck'`` or ``'backbone'``.

    Raises:
        ValueError: If the widths are not to be read there.
    """
    neck = _get(model, 'neck')
    if neck is None:
        raise ValueError(f'{_kind(model)} has no neck, from which the widths are read')
    if isinstance(neck, (list, tuple)):  # some detectors chain necks: the last one counts
        neck = neck[0] if place == 'backbone' else neck[-1]
    if place == 'backbone':
        widths = _get(neck, 'in_channels')
        return list(widths) if isinstance(widths, (list, tuple)) else [widths]
    width = _get(neck, 'out_channels')
    if isinstance(width, (list, tuple)):
        return list(width)
    count = _get(neck, 'num_outs')
    if count is None:
        count = len(_get(neck, 'in_channels'))
    return [width] * count


def level_strides(model: nn.Module) -> list[int] | None:
    """Strides of the neck's levels, or None where the detector does not tell."""
    for name in ('rpn_head', 'bbox_head'):
        generator = getattr(getattr(model, name, None), 'prior_generator', None)
        strides = getattr(generator, 'strides', None)
        if strides is not None:
            return [stride[0] if isinstance(stride, tuple) else stride for stride in strides]
    return None


def roi_width(model: Any, stage: int) -> int:
    """Channels of the RoI features, read from a detector or its model config."""
    extractor = _get(_get(model, 'roi_head'), 'bbox_roi_extractor')
    if isinstance(extractor, (list, tuple, nn.ModuleList)):
        extractor = extractor[stage]
    return _get(extractor, 'out_channels')


def _get(owner: Any, name: str) -> Any:
    if owner is None:
        return None
    if isinstance(owner, Mapping):
        return owner.get(name)
    return getattr(owner, name, None)


def _kind(model: Any) -> str:
    return str(model.get('type')) if isinstance(model, Mapping) else type(model).__name__
