"""Taps on the outputs of box heads, on the RoIs that the student has sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.detection.classifiers import classifier_rows, require_classifier
from wkd_det.detection.heads import (
    HeadOutput,
    box_head,
    can_record,
    require_offsets,
    require_own_rois,
    require_same_coding,
    stage_pairs,
)
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding, Tap
from wkd_det.distillation.view import Pair
from wkd_det.ops.checks import check_booleans, check_choice, check_weights, is_integer


class RoITap(Tap):
    """Reads both networks on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage: Stage or stages of a Cascade student, counted from 0; to be left out for other
            heads.
        teacher_stage: Stage or stages of a Cascade teacher to compare them with; those of the
            student by default, if both have as many.
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
        check_choice(('all', 'foreground'), rois=rois)
        for name, value in dict(stage=stage, teacher_stage=teacher_stage).items():
            if value is not None and not _is_choice(value):
                raise ValueError(f'{name} must be an index or a list of indices, got {value!r}')
        count = len(stage) if isinstance(stage, Sequence) else 1
        check_weights('stage_weights', stage_weights, count, 'stage')
        self.rois = rois
        self.reads_labels = rois == 'foreground'  # no other image says which RoIs these are
        self.stage = stage
        self.teacher_stage = teacher_stage
        self.weights = stage_weights
        self.stages: list[tuple[int, int]] = []
        """Stages of student and teacher, known once both networks are."""

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        other = student.dry_run(teacher).network
        self.stages = stage_pairs(student, other, self.stage, self.teacher_stage)
        if not can_record(student.roi_head):
            raise ValueError(
                f'the RoIs of a {type(student.roi_head).__name__} cannot be read: use the tap '
                'neck or backbone'
            )
        self._check(student, other)
        return Binding()

    def _check(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse networks that do not fit in the stages that are compared.

        Args:
            student: The student.
            teacher: The teacher on the meta device.
        """


def _is_choice(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0 and all(is_integer(index, 0) for index in value)
    return is_integer(value, 0)


class RoIHeadTap(RoITap):
    """Outputs of both box heads, stage by stage; options are those of ``RoITap``."""

    compares_classes: ClassVar[bool] = True

    def _check(self, student: nn.Module, teacher: nn.Module) -> None:
        require_own_rois(student, teacher, self.stages)

    def read(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        pairs = []
        for stage, teacher_stage in self.stages:
            recorded = student.stage(stage)
            own = self._student_output(student, teacher, connectors, stage, teacher_stage)
            other = teacher.on_rois(recorded.rois, teacher_stage)
            pairs.append(self._pair(student, stage, own, other))
        return pairs

    def _pair(
        self, student: DetectorStudentView, stage: int, own: HeadOutput, other: HeadOutput
    ) -> Pair:
        """Arguments of the loss from the outputs of the two heads on the RoIs of a stage."""
        raise NotImplementedError

    def _student_output(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
        stage: int,
        teacher_stage: int,
    ) -> HeadOutput:
        """Output that stands for the student, one row per RoI."""
        recorded = student.stage(stage)
        return HeadOutput(recorded.logits, recorded.offsets)


class RoILogitsTap(RoIHeadTap):
    """Class logits of both box heads on the RoIs that the student has sampled.

    They are logits of a softmax over classes and background, whatever the classifiers are; see
    :mod:`wkd_det.detection.classifiers`.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        background: Keep background as a class of its own among the logits. Without it, only
            foreground RoIs have a class.
        stage, teacher_stage, stage_weights: See :class:`RoITap`.

    Raises:
        ValueError: If an option is outside its range, or ``background=False`` with all RoIs.
    """

    yields: ClassVar[str] = 'logits'
    gives: ClassVar[tuple[str, ...]] = ('target',)

    def __init__(
        self,
        *,
        rois: str = 'all',
        background: bool = True,
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        check_booleans(background=background)
        super().__init__(
            rois=rois, stage=stage, teacher_stage=teacher_stage, stage_weights=stage_weights
        )
        if not background and rois == 'all':
            raise ValueError(
                "background=False leaves background RoIs without a class: set rois='foreground'"
            )
        self.background = background

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        binding = super().bind(student, teacher)
        count = box_head(student, 0, 'student').num_classes + self.background
        if count < 2:
            raise ValueError(
                'background=False leaves a detector of one class a single logit, which says '
                'nothing: keep background=True'
            )
        return replace(binding, num_classes=count, background=self.background)

    def _check(self, student: nn.Module, teacher: nn.Module) -> None:
        super()._check(student, teacher)
        for stage, teacher_stage in self.stages:
            require_classifier(box_head(student, stage, 'student'), 'student')
            require_classifier(box_head(teacher, teacher_stage, 'teacher'), 'teacher')

    def class_rows(self, teacher: nn.Module) -> Tensor:
        # Several stages share one class cost: that of the last, most selective one.
        head = box_head(teacher, self.stages[-1][1], 'teacher')
        rows = classifier_rows(head)
        return rows if self.background else rows[: head.num_classes]

    def _pair(
        self, student: DetectorStudentView, stage: int, own: HeadOutput, other: HeadOutput
    ) -> Pair:
        recorded = student.stage(stage)
        student_logits, teacher_logits = own.logits, other.logits
        labels = recorded.labels
        chosen = student.chosen(stage, self.rois)
        if chosen is not None:
            student_logits, teacher_logits = student_logits[chosen], teacher_logits[chosen]
            labels = labels[chosen]
        if not self.background:
            student_logits, teacher_logits = student_logits[:, :-1], teacher_logits[:, :-1]
        return dict(student=student_logits, teacher=teacher_logits, target=labels)


class RoIOffsetsTap(RoIHeadTap):
    """Box offsets of both box heads, of all classes, on the RoIs that the student has sampled.

    Args:
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage: Stage or stages of a Cascade student, as of the tap ``roi_logits``.
        teacher_stage: Stage or stages of a Cascade teacher to compare them with.
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

    def _check(self, student: nn.Module, teacher: nn.Module) -> None:
        super()._check(student, teacher)
        for stage, teacher_stage in self.stages:
            require_offsets(student, stage, 'student')
            require_offsets(teacher, teacher_stage, 'teacher')
            require_same_coding(student, teacher, stage, teacher_stage)

    def _pair(
        self, student: DetectorStudentView, stage: int, own: HeadOutput, other: HeadOutput
    ) -> Pair:
        student_offsets, teacher_offsets = own.offsets, other.offsets
        chosen = student.chosen(stage, self.rois)
        if chosen is not None:
            student_offsets, teacher_offsets = student_offsets[chosen], teacher_offsets[chosen]
        return dict(student=student_offsets, teacher=teacher_offsets)


class RoIBoxesTap(RoIOffsetsTap):
    """Offsets and boxes that both heads give the student's proposals for their target class.

    The proposals are those that the student has sampled and assigned to an object: others have
    no target class. Boxes are not cut at the image's border, where they would have no gradient.

    Args:
        stage: Stage or stages of a Cascade student, as of the tap ``roi_logits``.
        teacher_stage: Stage or stages of a Cascade teacher to compare them with.
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
        self, student: DetectorStudentView, stage: int, own: HeadOutput, other: HeadOutput
    ) -> Pair:
        offsets = super()._pair(student, stage, own, other)
        recorded = student.stage(stage)
        labels = recorded.labels[student.chosen(stage, self.rois)]
        priors = student.chosen_rois(stage, self.rois)[:, 1:]
        pair = {side: _of_class(offsets[side], labels) for side in ('student', 'teacher')}
        # Of both at once: a coder brings its constants to the device in each call.
        decode = box_head(student.module, stage, 'student').bbox_coder.decode
        boxes = decode(priors.repeat(2, 1), torch.cat([pair['student'], pair['teacher']]))
        own, other = boxes.chunk(2)
        return dict(pair, student_boxes=own, teacher_boxes=other.detach())


def _of_class(offsets: Tensor, labels: Tensor) -> Tensor:
    """The four offsets of each row's class, ``(R, 4 K)`` or class-agnostic to ``(R, 4)``."""
    if offsets.shape[1] == 4:
        return offsets
    rows = torch.arange(len(labels), device=labels.device)
    return offsets.unflatten(1, (-1, 4))[rows, labels]
