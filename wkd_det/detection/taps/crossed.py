"""What the taps through the other network's box head have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wkd_det.detection.geometry import level_widths, roi_levels
from wkd_det.detection.heads import require_plain_forward, roi_extractor, run_box_head
from wkd_det.detection.student_view import Record
from wkd_det.detection.taps.rois import RoIHeadTap, RoILogitsTap, RoIOffsetsTap
from wkd_det.detection.teacher_view import TeacherPass


class CrossedTap(RoIHeadTap):
    """Features of one network through the later layers of the other, in place of the student.

    A mixin before a tap on the student's own head. With ``head='teacher'`` the student's pyramid,
    after a connector a level, goes through the teacher's head, which is frozen but passes
    gradients on. With ``head='student'`` the teacher's pyramid, after a connector a level, goes
    through the student's head.

    Args:
        head: ``'teacher'`` or ``'student'``.
        **options: Of the tap that is crossed.

    Raises:
        ValueError: If ``head`` is something else.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023.
    """

    def __init__(self, *, head: str, **options: Any) -> None:
        super().__init__(**options)
        if head not in ('teacher', 'student'):
            raise ValueError(f"head must be 'teacher' or 'student', got {head!r}")
        self.head = head

    @property
    def projects(self) -> str:
        return 'student' if self.head == 'teacher' else 'teacher'

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        super().widths(student, teacher)
        own = level_widths(student.model_config, 'neck')
        other = level_widths(teacher, 'neck')
        if self.head == 'teacher':
            count = max(roi_levels(teacher, stage) for _, stage in self.stages)
            pairs = list(zip(own, other))
        else:
            count = max(roi_levels(student.model_config, stage) for stage, _ in self.stages)
            pairs = list(zip(other, own))
        if len(pairs) < count:
            raise ValueError(
                f"the {self.head}'s head reads {count} levels of the neck, and only {len(pairs)} "
                'are there in both networks'
            )
        return pairs[:count]

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        super().check(student, teacher, connectors)
        require_plain_forward(student, 'student')
        for stage, teacher_stage in self.stages:
            own = list(roi_extractor(student, stage, 'student').featmap_strides)
            other = list(roi_extractor(teacher, teacher_stage, 'teacher').featmap_strides)
            if own != other:
                raise ValueError(
                    "a network's head can read the other's pyramid if their RoIs come from the "
                    f'same strides, got {own} in the student and {other} in the teacher'
                )

    def connector_of(self, level: int, connectors: Sequence[nn.Module]) -> nn.Module:
        return connectors[level]

    def _student_head(
        self,
        student: Record,
        teacher: TeacherPass,
        connectors: Sequence[nn.Module],
        stage: int,
        teacher_stage: int,
    ) -> dict[str, Tensor]:
        key = ('crossed', self.head, stage, teacher_stage, *map(id, connectors))
        run = self._through_teacher if self.head == 'teacher' else self._through_student
        rois = student.stage(stage).rois
        result = student.once(
            key, lambda: run(student, teacher, connectors, rois, stage, teacher_stage)
        )
        if self.class_order is None or self.head == 'student':
            return result
        return dict(
            cls_score=self.class_order.logits(result['cls_score']),
            bbox_pred=self.class_order.offsets(result['bbox_pred']),
        )

    @staticmethod
    def _through_teacher(
        student: Record,
        teacher: TeacherPass,
        connectors: Sequence[nn.Module],
        rois: Tensor,
        stage: int,
        teacher_stage: int,
    ) -> dict[str, Tensor]:
        maps = tuple(
            student.projected('neck', level, connector, tuple(teacher.neck[level].shape[-2:]))
            for level, connector in enumerate(connectors)
        )
        # No torch.no_grad: the teacher's parameters ask for no gradient, its input does.
        return run_box_head(teacher.module, maps, rois, teacher_stage)

    @staticmethod
    def _through_student(
        student: Record,
        teacher: TeacherPass,
        connectors: Sequence[nn.Module],
        rois: Tensor,
        stage: int,
        teacher_stage: int,
    ) -> dict[str, Tensor]:
        maps = student.once(
            ('back', *map(id, connectors)),
            lambda: tuple(
                connector(features, tuple(own.shape[-2:]))
                for connector, features, own in zip(connectors, teacher.neck, student.neck)
            ),
        )
        return run_box_head(student.module, maps, rois, stage)


class CrossedLogitsTap(CrossedTap, RoILogitsTap):
    """The class logits of a crossed network in place of the student's, beside the teacher's own.

    Args:
        head: Whose box head: see :class:`~wkd_det.detection.taps.crossed.CrossedTap`.
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


class CrossedOffsetsTap(CrossedTap, RoIOffsetsTap):
    """The box offsets of a crossed network in place of the student's, beside the teacher's own.

    Args:
        head: Whose box head: see :class:`~wkd_det.detection.taps.crossed.CrossedTap`.
        rois: As of the tap ``roi_offsets``.
        stage: As of the tap ``roi_offsets``.
        teacher_stage: As of the tap ``roi_offsets``.
        stage_weights: As of the tap ``roi_offsets``.
    """

    def __init__(
        self,
        *,
        head: str,
        rois: str = 'all',
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            head=head,
            rois=rois,
            stage=stage,
            teacher_stage=teacher_stage,
            stage_weights=stage_weights,
        )
