"""Tap on class logits that one network's head gives the other's features."""

from __future__ import annotations

from collections.abc import Sequence

from wkd_det.detection.crossed_tap import CrossedTap
from wkd_det.detection.roi_logits_tap import RoILogitsTap
from wkd_det.distillation.tap import TAPS


@TAPS.register_module('crossed_logits')
class CrossedLogitsTap(CrossedTap, RoILogitsTap):
    """The class logits of a crossed network in place of the student's, beside the teacher's own.

    Args:
        head: Whose box head: see :class:`~wkd_det.detection.crossed_tap.CrossedTap`.
        rois: As of the tap ``roi_logits``.
        background: As of the tap roi_logits.
        stage: As of the tap ``roi_logits``.
        teacher_stage: As of the tap ``roi_logits``.
        stage_weights: As of the tap ``roi_logits``.
    """

    def __init__(
        self,
        *,
        head: str,
        rois: str = 'all',
        background: bool = True,
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            head=head,
            rois=rois,
            background=background,
            stage=stage,
            teacher_stage=teacher_stage,
            stage_weights=stage_weights,
        )
