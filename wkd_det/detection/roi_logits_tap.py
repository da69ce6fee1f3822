"""Tap on the classification branch of the box head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.detection.record import Record
from wkd_det.detection.roi_heads import box_head, check_roi_choice, check_stages, chosen_rois
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher


@TAPS.register_module('roi_logits')
class RoILogitsTap(Tap):
    """Class logits of both box heads on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        background: Keep background as a class of its own among the logits. Without it, only
            foreground RoIs have a class.
        stage: Stage of a Cascade student; 0 for other heads.
        teacher_stage: Stage of a Cascade teacher; ``stage`` by default.

    Raises:
        ValueError: If an option is outside its range, or ``background=False`` with all RoIs.
    """

    yields: ClassVar[str] = 'logits'

    def __init__(
        self,
        *,
        rois: str = 'all',
        background: bool = True,
        stage: int = 0,
        teacher_stage: int | None = None,
    ) -> None:
        check_roi_choice(rois)
        if not background and rois == 'all':
            raise ValueError(
                "background=False leaves background RoIs without a class: set rois='foreground'"
            )
        self.rois = rois
        self.background = background
        self.stage = stage
        self.teacher_stage = stage if teacher_stage is None else teacher_stage

    def num_classes(self, student: nn.Module) -> int:
        return box_head(student, self.stage, 'student').num_classes + self.background

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        check_stages(student, teacher, self.stage, self.teacher_stage)
        for owner, model, stage in (
            ('student', student, self.stage),
            ('teacher', teacher, self.teacher_stage),
        ):
            head = box_head(model, stage, owner)
            if getattr(head.loss_cls, 'use_sigmoid', False) or head.custom_cls_channels:
                raise ValueError(
                    f'roi_logits needs a softmax over classes and background; the {owner} uses '
                    f'{type(head.loss_cls).__name__}'
                )

    def classifier_rows(self, teacher: nn.Module) -> Tensor:
        head = box_head(teacher, self.teacher_stage, 'teacher')
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

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        stage = student.stages[self.stage]
        student_logits = stage.logits
        teacher_logits = teacher.head(stage.rois, self.teacher_stage)['cls_score']
        labels = stage.labels
        chosen = chosen_rois(stage, self.rois)
        if chosen is not None:
            student_logits, teacher_logits = student_logits[chosen], teacher_logits[chosen]
            labels = labels[chosen]
        if not self.background:
            student_logits, teacher_logits = student_logits[:, :-1], teacher_logits[:, :-1]
        return [dict(student=student_logits, teacher=teacher_logits, target=labels)]
