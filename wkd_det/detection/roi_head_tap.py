"""What the taps on the outputs of the box head have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.detection.record import Record
from wkd_det.detection.roi_heads import require_plain_forward
from wkd_det.detection.roi_tap import RoITap
from wkd_det.detection.teacher_pass import TeacherPass


class RoIHeadTap(RoITap):
    """Outputs of both box heads, stage by stage; options are those of ``RoITap``."""

    compares_classes: ClassVar[bool] = True

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        super().check(student, teacher, connectors)
        require_plain_forward(teacher, 'teacher')

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: Sequence[nn.Module]
    ) -> list[dict[str, Any]]:
        pairs = []
        for stage, teacher_stage in self.stages:
            own = self._student_head(student, teacher, connectors, stage, teacher_stage)
            other = teacher.head(student.stage(stage).rois, teacher_stage)
            pairs.append(self._pair(student, stage, own, other))
        return pairs

    def _pair(
        self, student: Record, stage: int, own: dict[str, Tensor], other: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Arguments of the loss from what the two heads say of the RoIs of a stage."""
        raise NotImplementedError

    def _student_head(
        self,
        student: Record,
        teacher: TeacherPass,
        connectors: Sequence[nn.Module],
        stage: int,
        teacher_stage: int,
    ) -> dict[str, Tensor]:
        """What stands for the student: ``cls_score`` and ``bbox_pred``, a row a RoI."""
        recorded = student.stage(stage)
        return dict(cls_score=recorded.logits, bbox_pred=recorded.deltas)
