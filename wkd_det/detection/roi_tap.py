"""What the taps on RoIs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from wkd_det.detection.record import can_record
from wkd_det.detection.roi_heads import stage_pairs
from wkd_det.distillation.tap import Tap
from wkd_det.distillation.weights import check_weights
from wkd_det.functional.number_check import is_integer


class RoITap(Tap):
    """Reads both networks on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage: Stage or stages of a Cascade student, counted from 0; to be left out for other
            heads.
        teacher_stage: The stage or stages of a Cascade teacher beside them; those of the student
            by default, if both have as many.
        stage_weights: Factor of each stage in the term's sum; the mean over stages by default.

    Raises:
        ValueError: If an option is outside its range.
    """

    def __init__(
        self,
        *,
        rois: str,
        stage: int | Sequence[int] | None,
        teacher_stage: int | Sequence[int] | None,
        stage_weights: Sequence[float] | None,
    ) -> None:
        if rois not in ('all', 'foreground'):
            raise ValueError(f"rois must be 'all' or 'foreground', got {rois!r}")
        for name, value in dict(stage=stage, teacher_stage=teacher_stage).items():
            if value is not None and not _is_choice(value):
                raise ValueError(f'{name} must be an index or a list of indices, got {value!r}')
        count = len(stage) if isinstance(stage, Sequence) else 1
        check_weights('stage_weights', stage_weights, count, 'stage')
        self.rois = rois
        self.stage = stage
        self.teacher_stage = teacher_stage
        self.weights = stage_weights
        self.stages: list[tuple[int, int]] = []
        """Stages of student and teacher, known once both networks are."""

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        self.stages = stage_pairs(student, teacher, self.stage, self.teacher_stage)
        return []

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        for owner, model in (('student', student), ('teacher', teacher)):
            if not model.with_neck:
                raise ValueError(f'RoIs are read from the neck, and the {owner} has none')
        if not can_record(student.roi_head):
            raise ValueError(
                f'the RoIs of a {type(student.roi_head).__name__} cannot be read: use the tap '
                'neck or backbone'
            )


def _is_choice(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0 and all(is_integer(index, 0) for index in value)
    return is_integer(value, 0)
