"""Geometry of detectors: widths, strides and numbers of classes, masks and sizes of maps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn


def num_classes(model: nn.Module) -> int | None:
    """Number of object classes of a detector, or None where it is unknown."""
    roi_head = getattr(model, 'roi_head', None)
    head = getattr(model, 'bbox_head', None) if roi_head is None else roi_head.bbox_head
    if isinstance(head, nn.ModuleList):
        head = head[0]
    return getattr(head, 'num_classes', None)


def level_widths(model: Mapping[str, Any], place: str) -> list[int]:
    """Channels of each level of the backbone or the neck.

    Args:
        model: Model config of a detector.
        place: ``'neck'`` or ``'backbone'``.

    Raises:
        ValueError: If the widths are not to be read there.
    """
    kind = model.get('type')
    necks = model.get('neck')
    if necks is None:
        raise ValueError(f'{kind} has no neck, from which the widths are read')
    if not isinstance(necks, (list, tuple)):  # some detectors chain them, e.g. FPN and DyHead
        necks = [necks]
    sources = _listed(_option(necks[0], 'in_channels'))
    if place == 'backbone':
        widths = sources
    else:
        width = _last(necks, 'out_channels')
        count = _last(necks, 'num_outs') or len(sources)
        widths = _listed(width) * (1 if isinstance(width, (list, tuple)) else count)
    if not widths or not all(isinstance(width, int) for width in widths):
        kinds = ' and '.join(str(neck.get('type')) for neck in necks)
        raise ValueError(f'the {place} widths of {kind} cannot be read from its {kinds}')
    return widths


def level_strides(model: nn.Module) -> list[int] | None:
    """Strides of the neck's levels, or None where the detector does not state them."""
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


def roi_levels(model: Mapping[str, Any], stage: int) -> int:
    """Number of the neck's levels that RoIs are read from, of a detector's model config."""
    extractor = model['roi_head']['bbox_roi_extractor']
    if isinstance(extractor, (list, tuple)):
        extractor = extractor[stage]
    return len(extractor['featmap_strides'])


def _last(necks: list[Mapping[str, Any]], name: str) -> Any:
    """The option of the last neck that has it."""
    values = (_option(neck, name) for neck in reversed(necks))
    return next((value for value in values if value is not None), None)


def _option(section: Mapping[str, Any], name: str) -> Any:
    """The option of a section, or the default of its type."""
    if name in section:
        return section[name]
    cls = MODELS.get(section.get('type'))
    parameter = inspect.signature(cls).parameters.get(name) if cls is not None else None
    missing = parameter is None or parameter.default is parameter.empty
    return None if missing else parameter.default


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _get(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def image_mask(
    batch_size: tuple[int, int], image_sizes: Sequence[tuple[int, int]], features: Tensor
) -> Tensor | None:
    """Pixels of a map whose centre lies in the image, bool ``(N, H, W)``.

    Args:
        batch_size: Height and width of the batch.
        image_sizes: Height and width of each image without padding.
        features: The map, shape ``(N, C, H, W)``.

    Returns:
        None if there is no padding.
    """
    if all(size == batch_size for size in image_sizes):
        return None
    sizes = torch.tensor(image_sizes, device=features.device)
    inside = []
    for axis, (length, padded) in enumerate(zip(features.shape[-2:], batch_size)):
        centre = (torch.arange(length, device=features.device) + 0.5) * (padded / length)
        inside.append(centre < sizes[:, axis, None])
    return inside[0][:, :, None] & inside[1][:, None, :]


def fitted_maps(
    maps: Sequence[Tensor], own: tuple[int, int], other: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Maps of a batch of one size as a batch of another size would have them.

    A pixel of a map lies at the same place of the image in both; the maps are cut, or extended by
    zeros, behind the image, where nothing counts.

    Args:
        maps: Each ``(N, C, H, W)``.
        own: Height and width of the batch that the result is for.
        other: Height and width of the batch that the maps come from.
    """
    if own == other:
        return tuple(maps)
    fitted = []
    for features in maps:
        sizes = zip(own, other, features.shape[-2:])
        height, width = (_map_length(own, other, length) for own, other, length in sizes)
        extra = (0, width - features.shape[-1], 0, height - features.shape[-2])
        fitted.append(F.pad(features, extra))
    return tuple(fitted)


def common_part(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps of one level, cut to the size that both have.

    Networks round the size of a level up or down where it does not divide the image's, so maps of
    one stride may differ by a pixel at the lower and the right border. Maps that differ by more
    are returned as they are.
    """
    sizes = [(a, b) for a, b in zip(own.shape[-2:], other.shape[-2:])]
    if own.shape[-2:] == other.shape[-2:] or any(abs(a - b) > 1 for a, b in sizes):
        return own, other
    height, width = (min(pair) for pair in sizes)
    return own[..., :height, :width], other[..., :height, :width]


def _map_length(own: int, other: int, length: int) -> int:
    """Length of the map of ``own`` pixels if ``other`` pixels give ``length``."""
    stride = 1
    while -(-other // stride) > length:  # strides are powers of two, and maps are rounded up
        stride *= 2
    if -(-other // stride) != length:
        stride = other / length
    return int(-(-own // stride))
