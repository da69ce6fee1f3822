"""Taps on the features of one network that go through the box head of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.detection.geometry import roi_place
from wkd_det.detection.heads import HeadOutput, require_plain_forward, roi_extractor
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.taps.rois import RoIHeadTap, RoILogitsTap, RoIOffsetsTap
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding, Slot
from wkd_det.distillation.view import View
from wkd_det.ops.checks import check_choice


class CrossedTap(RoIHeadTap):
    """Features of one network through the later layers of the other, in place of the student.

    A mixin before a tap on the student's own head. With ``head='teacher'`` the student's pyramid,
    after one connector per level, goes through the teacher's head, which is frozen but passes
    gradients on. With ``head='student'`` the teacher's pyramid, after one connector per level, goes
    through the student's head.

    Args:
        head: ``'teacher'`` or ``'student'``.
        **options: Options of the tap that is crossed.

    Raises:
        ValueError: If ``head`` is something else.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023.
    """

    def __init__(self, *, head: str, **options: Any) -> None:
        super().__init__(**options)
        check_choice(('teacher', 'student'), head=head)
        self.head = head

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        binding = super().bind(student, teacher)
        runs = student.dry_run(), student.dry_run(teacher)
        own, other = (run.levels(roi_place(run.network)).channels for run in runs)
        reads = ('student', 'teacher').index(self.head)
        pairs = list(zip(own, other) if reads else zip(other, own))
        count = max(
            roi_extractor(runs[reads].network, stages[reads], self.head).num_inputs
            for stages in self.stages
        )
        if len(pairs) < count:
            raise ValueError(
                f"the {self.head}'s head reads {count} levels, and only {len(pairs)} are there in "
                'both networks'
            )
        slots = tuple(Slot(*widths, (level,)) for level, widths in enumerate(pairs[:count]))
        projects = 'student' if self.head == 'teacher' else 'teacher'
        return replace(binding, slots=slots, projects=projects)

    def _check(self, student: nn.Module, teacher: nn.Module) -> None:
        super()._check(student, teacher)
        require_plain_forward(student, 'student')
        require_plain_forward(teacher, 'teacher')
        for stage, teacher_stage in self.stages:
            own = list(roi_extractor(student, stage, 'student').featmap_strides)
            other = list(roi_extractor(teacher, teacher_stage, 'teacher').featmap_strides)
            if own != other:
                raise ValueError(
                    "a network's head can read the other's pyramid if their RoIs come from the "
                    f'same strides, got {own} in the student and {other} in the teacher'
                )

    def _student_output(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
        stage: int,
        teacher_stage: int,
    ) -> HeadOutput:
        key = ('crossed', self.head, stage, teacher_stage, *map(id, connectors))
        rois = student.stage(stage).rois
        if self.head == 'teacher':
            return student.once(
                key,
                lambda: teacher.head(_projected(student, teacher, connectors), rois, teacher_stage),
            )
        return student.once(
            key, lambda: student.head(_projected(teacher, student, connectors), rois, stage)
        )


def _projected(source: View, target: View, connectors: Sequence[Connector]) -> tuple[Tensor, ...]:
    """Maps that one network's RoIs come from in the widths and sizes of the other's."""
    sizes = [tuple(features.shape[-2:]) for features in target.maps(roi_place(target.module))]
    place = roi_place(source.module)
    return tuple(
        source.projected(place, level, connector, sizes[level])
        for level, connector in enumerate(connectors)
    )


class CrossedLogitsTap(CrossedTap, RoILogitsTap):
    """Class logits of a crossed network in place of the student's, with the teacher's own.

    Args:
        head: Whose box head: see :class:`~wkd_det.detection.taps.crossed.CrossedTap`.
        rois: As of the tap ``roi_logits``.
        background: As of the tap ``roi_logits``.
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
    """Box offsets of a crossed network in place of the student's, with the teacher's own.

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
