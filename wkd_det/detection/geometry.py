"""Geometry of detectors: numbers of classes, masks and sizes of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLACES = ('backbone', 'neck')
"""Parts of a detector whose outputs are maps of whole images, level by level."""


@dataclass(frozen=True)
class Levels:
    """Maps of one place, level by level."""

    channels: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    """Height and width for the image of the dry run."""
    strides: tuple[float, ...]
    """Pixels of the image for each of the map; whole numbers wherever the image divides so."""


def num_classes(model: nn.Module) -> int | None:
    """Number of object classes of a detector, or None where it is unknown.

    0 of a teacher of maps, which has none.
    """
    roi_head = getattr(model, 'roi_head', None)
    head = getattr(model, 'bbox_head', None) if roi_head is None else roi_head.bbox_head
    if head is None and getattr(model, 'num_classes', None) == 0:
        return 0
    if isinstance(head, nn.ModuleList):
        head = head[0]
    return getattr(head, 'num_classes', None)


def as_maps(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Output of a backbone or a neck, level by level; some give one map alone."""
    return (output,) if isinstance(output, Tensor) else tuple(output)


def without_image(model: nn.Module, place: str, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Maps of a place, without the image that some backbones hand to the neck before them.

    Args:
        model: A detector, e.g. a DetectoRS, whose recursive pyramid reads the image.
        place: ``'neck'`` or ``'backbone'``.
        maps: Output of this part.
    """
    hands_on = place == 'backbone' and getattr(model.backbone, 'output_img', False)
    return maps[1:] if hands_on else maps


def roi_place(model: nn.Module) -> str:
    """The place that a two-stage detector reads its RoIs from: its neck, if it has one."""
    return 'neck' if model.with_neck else 'backbone'


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
    sizes = on_device(image_sizes, features.device)
    inside = []
    for axis, (length, padded) in enumerate(zip(features.shape[-2:], batch_size)):
        centre = (torch.arange(length, device=features.device) + 0.5) * (padded / length)
        inside.append(centre < sizes[:, axis, None])
    return inside[0][:, :, None] & inside[1][:, None, :]


def on_device(values: Any, device: torch.device) -> Tensor:
    """Numbers as a tensor on a device, which is not waited for."""
    return torch.tensor(values).to(device, non_blocking=True)


def fitted_maps(
    maps: Sequence[Tensor],
    own: tuple[int, int],
    other: tuple[int, int],
    strides: Sequence[float] | None = None,
) -> tuple[Tensor, ...]:
    """Maps of a batch of one size as a batch of another size would have them.

    A pixel of a map lies at the same place of the image in both; the maps are cut, or extended by
    zeros, behind the image, where nothing counts.

    Args:
        maps: Each ``(N, C, H, W)``.
        own: Height and width of the batch that the result is for.
        other: Height and width of the batch that the maps come from.
        strides: Strides of the first maps, where they are known.
    """
    if own == other:
        return tuple(maps)
    fitted = []
    stride = None
    for index, features in enumerate(maps):
        lengths = tuple(features.shape[-2:])
        known = strides is not None and index < len(strides)
        stride = strides[index] if known else _stride(lengths, other, stride)
        height, width = (_map_length(*each, stride) for each in zip(own, other, lengths))
        extra = (0, width - features.shape[-1], 0, height - features.shape[-2])
        fitted.append(F.pad(features, extra))
    return tuple(fitted)


def _stride(lengths: tuple[int, int], sizes: tuple[int, int], below: int | None) -> int | None:
    """Stride of a map, a power of two; None if no such stride gives it.

    A small map may be one of a stride, rounded down, or one of twice the stride, rounded up: the
    level below decides.

    Args:
        lengths: Height and width of the map.
        sizes: Height and width of the batch.
        below: Stride of the level below, if it is known.
    """

    def fits(stride: int) -> bool:
        return all(
            size // stride <= length <= -(-size // stride) for length, size in zip(lengths, sizes)
        )

    stride = 1
    while any(-(-size // stride) > length for length, size in zip(lengths, sizes)):
        stride *= 2
    candidates = [stride, stride // 2]
    if below is not None and 2 * below < stride:
        candidates.insert(0, 2 * below)
    return next((one for one in candidates if one and fits(one)), None)


def _map_length(own: int, other: int, length: int, stride: float | None) -> int:
    """Length of the map of ``own`` pixels if ``other`` pixels give ``length``."""
    if stride is not None and length == -(-other // stride):
        return int(-(-own // stride))
    if stride is not None and length == other // stride:
        return max(int(own // stride), 1)
    return int(-(-own // (other / length)))
