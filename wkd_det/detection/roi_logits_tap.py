"""Tap on the classification branch of the box head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.detection.record import Record
from wkd_det.detection.roi_head_tap import RoIHeadTap
from wkd_det.detection.roi_heads import box_head, chosen_rois
from wkd_det.distillation.tap import TAPS
from wkd_det.distillation.teacher import Teacher


@TAPS.register_module('roi_logits')
class RoILogitsTap(RoIHeadTap):
    """Class logits of both box heads on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        background: Keep background as a class of its own among the logits. Without it, only
            foreground RoIs have a class.
        stage, teacher_stage, stage_weights: See :class:`RoITap`.

    Raises:
        ValueError: If an option is outside its range, or ``background=False`` with all RoIs.
    """

    yields: ClassVar[str] = 'logits'

    def __init__(
        self,
        *,
        rois: str = 'all',
        background: bool = True,
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            rois=rois, stage=stage, teacher_stage=teacher_stage, stage_weights=stage_weights
        )
        if not background and rois == 'all':
            raise ValueError(
                "background=False leaves background RoIs without a class: set rois='foreground'"
            )
        self.background = background

    def num_classes(self, student: nn.Module) -> int:
        count = box_head(student, 0, 'student').num_classes + self.background
        if count < 2:
            raise ValueError(
                'background=False leaves a detector of one class a single logit, which says '
                'nothing: keep background=True'
            )
        return count

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        super().check(student, teacher, connectors)
        for stage, teacher_stage in self.stages:
            _require_softmax(box_head(student, stage, 'student'), 'student')
            _require_softmax(box_head(teacher, teacher_stage, 'teacher'), 'teacher')

    def classifier_rows(self, teacher: nn.Module) -> Tensor:
        # Several stages share one class cost: that of the last, most selective one.
        head = box_head(teacher, self.stages[-1][1], 'teacher')
        classifier = getattr(head, 'fc_cls', None)
        if getattr(classifier, 'weight', None) is None:
            raise ValueError(
                f'the {type(head).__name__} of the teacher has no fc_cls.weight to compute class '
                'costs from: take them from a file'
            )
        return classifier.weight if self.background else classifier.weight[: head.num_classes]

    def class_names(self, teacher: Teacher) -> list[str] | None:
        if teacher.class_names is None:
            return None
        return [*teacher.class_names, *(['background'] if self.background else [])]

    def _pair(
        self, student: Record, stage: int, own: dict[str, Tensor], other: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        recorded = student.stage(stage)
        student_logits, teacher_logits = own['cls_score'], other['cls_score']
        labels = recorded.labels
        chosen = chosen_rois(recorded, self.rois)
        if chosen is not None:
            student_logits, teacher_logits = student_logits[chosen], teacher_logits[chosen]
            labels = labels[chosen]
        if not self.background:
            student_logits, teacher_logits = student_logits[:, :-1], teacher_logits[:, :-1]
        return dict(student=student_logits, teacher=teacher_logits, target=labels)


def _require_softmax(head: nn.Module, owner: str) -> None:
    if getattr(head.loss_cls, 'use_sigmoid', False) or head.custom_cls_channels:
        raise ValueError(
            f'roi_logits needs a softmax over classes and background; the {owner} uses '
            f'{type(head.loss_cls).__name__}'
        )
