"""Taps on features of the student's dense head that go on through the teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from wkd_det.detection.branches import BRANCHES, aligned, branch_width, features_before
from wkd_det.detection.dense import HEAD, DenseOutput, dense_head
from wkd_det.detection.dense_places import DensePlaces
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.taps.dense import BoxDistributionsTap, DenseLogitsTap, DenseTap
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding
from wkd_det.ops.checks import is_integer


class CrossedDenseTap(DenseTap):
    """Features of the student's head through the later layers of the teacher's: CrossKD.

    A mixin before a tap on dense heads. What the student's branches give behind their first
    ``depth`` convolutions, before the activation, gets the mean and the deviation of the teacher's
    channels and goes through the activation and the rest of the teacher's head, which is frozen
    but passes gradients on. The result stands for the student. It is compared with the teacher, so
    the student's own predictions are left to the labels.

    Statistics are those of the batch of each process, without padding. Both heads must have the
    same width there: there is no connector.

    Args:
        depth: Number of the teacher's convolutions that are left out; 0 takes the maps that both
            heads are given.
        **options: Options of the tap that is crossed. The student's score, of ``weigh_by`` too, is
            that of the crossed network.

    Raises:
        ValueError: If ``depth`` is no such number.

    References: Wang, Chen, Zheng, Li, Cheng, Hou, CrossKD: Cross-Head Knowledge Distillation for
        Object Detection, CVPR 2024 (depth 3 of 4).
    """

    def __init__(self, *, depth: int, **options: Any) -> None:
        super().__init__(**options)
        if not is_integer(depth, 0):
            raise ValueError(f'depth must be a number of convolutions, at least 0, got {depth!r}')
        self.depth = depth
        if depth:
            names = features_before(depth)
            self.student_modules = self.teacher_modules = (HEAD, *names)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        binding = super().bind(student, teacher)
        runs = (student.dry_run(), 'student'), (student.dry_run(teacher), 'teacher')
        own, other = (
            branch_width(dense_head(run.network, owner), self.depth, owner) for run, owner in runs
        )
        if own != other:
            raise ValueError(
                f"the student's features behind {self.depth} convolutions have {own} channels and "
                f"the teacher's {other}: the teacher's layers cannot take them"
            )
        return binding

    def _places(self, student: DetectorStudentView, teacher: DetectorTeacherView) -> DensePlaces:
        def places() -> DensePlaces:
            return student.places(teacher.dense(), self._crossed(student, teacher))

        return teacher.once(('crossed places', self.depth), places)

    def _crossed(self, student: DetectorStudentView, teacher: DetectorTeacherView) -> DenseOutput:
        own, other = (view.branch_features(self.depth) for view in (student, teacher))
        features = {
            branch: [
                aligned(*pair, *(student.image_mask(HEAD, one) for one in pair))
                for pair in zip(own[branch], other[branch])
            ]
            for branch in BRANCHES
        }
        return teacher.later_layers(self.depth, features)


class CrossedDenseLogitsTap(CrossedDenseTap, DenseLogitsTap):
    """Class logits of the crossed head in place of the student's, with the teacher's own.

    Args:
        depth: See :class:`CrossedDenseTap`.
        places, top, weigh_by, average: As of the tap ``dense_logits``.
    """

    def __init__(
        self,
        *,
        depth: int,
        places: str = 'all',
        top: int | None = None,
        weigh_by: str | None = None,
        average: str = 'positives',
    ) -> None:
        super().__init__(depth=depth, places=places, top=top, weigh_by=weigh_by, average=average)


class CrossedBoxDistributionsTap(CrossedDenseTap, BoxDistributionsTap):
    """Distributions of the sides of boxes of the crossed head, with the teacher's own.

    Args:
        depth: See :class:`CrossedDenseTap`.
        places, top, weigh_by, average: As of the tap ``box_distributions``; all places by default.
    """

    def __init__(
        self,
        *,
        depth: int,
        places: str = 'all',
        top: int | None = None,
        weigh_by: str | None = 'teacher',
        average: str = 'weights',
    ) -> None:
        super().__init__(depth=depth, places=places, top=top, weigh_by=weigh_by, average=average)
