"""RoIAlign of student and teacher at one size."""

from __future__ import annotations

import copy

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import nn


class RoIPooler:
    """RoIAlign of both networks at one size.

    Args:
        student: RoI extractor of the student.
        teacher: RoI extractor of the teacher.
        size: Height and width of the pooled features; the student's own if None.
        at_map: The student's maps have the teacher's width when they are pooled.

    Raises:
        ValueError: If an extractor is no ``SingleRoIExtractor``.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        size: int | None,
        at_map: bool,
    ) -> None:
        _require_single(student, 'student')
        _require_single(teacher, 'teacher')
        size = size or _size(student)
        self.is_own_size = size == _size(student)
        self.student = _sized(student, size, teacher.out_channels if at_map else None)
        self.teacher = _sized(teacher, size)


def _require_single(extractor: nn.Module, owner: str) -> None:
    if not isinstance(extractor, SingleRoIExtractor):
        raise ValueError(
            f'roi_feats needs a SingleRoIExtractor, the {owner} has {type(extractor).__name__}'
        )


def _size(extractor: SingleRoIExtractor) -> int | tuple[int, int]:
    height, width = extractor.roi_layers[0].output_size
    return height if height == width else (height, width)


def _sized(
    extractor: SingleRoIExtractor, size: int | tuple[int, int], channels: int | None = None
) -> SingleRoIExtractor:
    """The same extractor with another output size and, if given, another width."""
    sized = copy.deepcopy(extractor)
    for layer in sized.roi_layers:
        layer.output_size = (size, size) if isinstance(size, int) else size
    if channels is not None:
        sized.out_channels = channels
    return sized
