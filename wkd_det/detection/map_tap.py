"""Taps on feature maps of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.detection.record import Record
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.detection.widths import level_strides, level_widths
from wkd_det.distillation.tap import TAPS, Tap


class MapTap(Tap):
    """Feature maps of the backbone or the neck, level by level.

    Each level has its own connector, the loss is the mean over levels, and pixels of padding do
    not count.

    Args:
        levels: Indices of the levels to compare; all of them by default. For an FPN that starts
            at P2, P3 is level 1.

    Raises:
        ValueError: If ``levels`` is empty, repeats an index or is no list of indices.
    """

    yields: ClassVar[str] = 'features'
    place: ClassVar[str]

    def __init__(self, *, levels: Sequence[int] | None = None) -> None:
        if levels is not None and not (
            isinstance(levels, Sequence)
            and levels
            and all(isinstance(level, int) and level >= 0 for level in levels)
            and len(set(levels)) == len(levels)
        ):
            raise ValueError(
                f'levels must be a non-empty list of different indices from 0 on, got {levels!r}'
            )
        self.levels = levels

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        own = level_widths(student, self.place)
        other = level_widths(teacher, self.place)
        if self.levels is None:
            if len(own) != len(other):
                raise ValueError(
                    f'the student has {len(own)} {self.place} levels and the teacher '
                    f'{len(other)}: name those to compare with levels=[...]'
                )
            self.levels = range(len(own))
        for owner, available in (('student', own), ('teacher', other)):
            if max(self.levels) >= len(available):
                raise ValueError(
                    f'levels {list(self.levels)} of the {self.place}: the {owner} has '
                    f'{len(available)} levels'
                )
        return [(own[level], other[level]) for level in self.levels]

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        own, other = level_strides(student), level_strides(teacher)
        if self.place != 'neck' or own is None or other is None:
            return  # the shapes tell at the first batch
        for level, connector in zip(self.levels, connectors):
            if own[level] != other[level] and not getattr(connector, 'resizes', False):
                raise ValueError(
                    f'neck level {level} has stride {own[level]} in the student and '
                    f'{other[level]} in the teacher: use a connector with resize=True'
                )

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        student_maps = getattr(student, self.place)
        teacher_maps = getattr(teacher, self.place)
        pairs = []
        for level, connector in zip(self.levels, connectors):
            target = teacher_maps[level]
            projected = connector(student_maps[level], target.shape[-2:])
            if projected.shape != target.shape:
                raise ValueError(
                    f'{self.place} level {level}: the student has {tuple(projected.shape)} after '
                    f'its connector, the teacher {tuple(target.shape)}; where strides differ, '
                    'use a connector with resize=True'
                )
            pair = dict(student=projected, teacher=target)
            mask = _image_mask(student, target)
            if mask is not None:
                pair['mask'] = mask
            pairs.append(pair)
        return pairs


@TAPS.register_module('neck')
class NeckTap(MapTap):
    """Maps of the neck, e.g. the FPN."""

    place = 'neck'


@TAPS.register_module('backbone')
class BackboneTap(MapTap):
    """Maps of the backbone."""

    place = 'backbone'


def _image_mask(record: Record, features: Tensor) -> Tensor | None:
    """Pixels whose centre lies in the image, bool ``(N, H, W)``; None if there is no padding."""
    batch_size = tuple(record.inputs.shape[-2:])
    if all(tuple(size) == batch_size for size in record.image_sizes):
        return None
    sizes = torch.tensor(record.image_sizes, device=features.device)
    inside = []
    for axis, (length, padded) in enumerate(zip(features.shape[-2:], batch_size)):
        centre = (torch.arange(length, device=features.device) + 0.5) * (padded / length)
        inside.append(centre < sizes[:, axis, None])
    return inside[0][:, :, None] & inside[1][:, None, :]
