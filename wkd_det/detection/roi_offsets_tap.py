"""Tap on the regression branch of the box head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.detection.record import Record
from wkd_det.detection.roi_head_tap import RoIHeadTap
from wkd_det.detection.roi_heads import chosen_rois, require_same_coding
from wkd_det.distillation.tap import TAPS


@TAPS.register_module('roi_offsets')
class RoIOffsetsTap(RoIHeadTap):
    """Box offsets of both box heads, of all classes, on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage: Stage or stages of a Cascade student, as of the tap ``roi_logits``.
        teacher_stage: The stage or stages of a Cascade teacher beside them.
        stage_weights: Factor of each stage in the term's sum; the mean over stages by default.
    """

    yields: ClassVar[str] = 'offsets'

    def __init__(
        self,
        *,
        rois: str = 'all',
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            rois=rois, stage=stage, teacher_stage=teacher_stage, stage_weights=stage_weights
        )

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        super().check(student, teacher, connectors)
        for stage, teacher_stage in self.stages:
            require_same_coding(student, teacher, stage, teacher_stage)

    def _pair(
        self, student: Record, stage: int, own: dict[str, Tensor], other: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        student_offsets, teacher_offsets = own['bbox_pred'], other['bbox_pred']
        if self.class_order is not None:
            teacher_offsets = self.class_order.offsets(teacher_offsets)
        chosen = chosen_rois(student.stage(stage), self.rois)
        if chosen is not None:
            student_offsets, teacher_offsets = student_offsets[chosen], teacher_offsets[chosen]
        return dict(student=student_offsets, teacher=teacher_offsets)
