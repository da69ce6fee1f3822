"""Tap on the boxes of the target class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.detection.record import Record
from wkd_det.detection.roi_heads import box_head, chosen_rois
from wkd_det.detection.roi_offsets_tap import RoIOffsetsTap
from wkd_det.distillation.tap import TAPS


@TAPS.register_module('roi_boxes')
class RoIBoxesTap(RoIOffsetsTap):
    """Offsets and boxes that both heads give the student's proposals for their target class.

    The proposals are those that the student has sampled and assigned to an object: others have
    no target class. Boxes are not cut at the image's border, where they would have no gradient.

    Args:
        stage: Stage or stages of a Cascade student, as of the tap ``roi_logits``.
        teacher_stage: The stage or stages of a Cascade teacher beside them.
        stage_weights: Factor of each stage in the term's sum; the mean over stages by default.

    References: the optional box term of Lv, Yang, Li, NeurIPS 2024, experiments on COCO.
    """

    yields: ClassVar[str] = 'boxes'

    def __init__(
        self,
        *,
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            rois='foreground',
            stage=stage,
            teacher_stage=teacher_stage,
            stage_weights=stage_weights,
        )

    def _pair(
        self, student: Record, stage: int, own: dict[str, Tensor], other: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        offsets = super()._pair(student, stage, own, other)
        recorded = student.stage(stage)
        chosen = chosen_rois(recorded, self.rois)
        labels, priors = recorded.labels[chosen], recorded.rois[chosen, 1:]
        decode = box_head(student.module, stage, 'student').bbox_coder.decode
        pair = {}
        for side in ('student', 'teacher'):
            pair[side] = _of_class(offsets[side], labels)
            pair[f'{side}_boxes'] = decode(priors, pair[side])
        return pair


def _of_class(offsets: Tensor, labels: Tensor) -> Tensor:
    """The four offsets of each row's class, ``(R, 4 K)`` or class-agnostic to ``(R, 4)``."""
    if offsets.shape[1] == 4:
        return offsets
    rows = torch.arange(len(labels), device=labels.device)
    return offsets.unflatten(1, (-1, 4))[rows, labels]
