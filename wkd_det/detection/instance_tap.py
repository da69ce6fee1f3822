"""Tap on the neck together with the objects of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from wkd_det.detection.map_tap import image_mask
from wkd_det.detection.num_classes import num_classes
from wkd_det.detection.pyramid_tap import PyramidTap
from wkd_det.detection.record import Record
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.distillation.tap import TAPS


@TAPS.register_module('instances')
class InstanceTap(PyramidTap):
    """Maps of the neck, all levels in one comparison, with boxes and classes of the objects.

    It has no connectors: the loss learns its own projections, and is told the widths.

    Args:
        levels: Indices of the student's levels, as of the tap ``neck``.
        teacher_levels: Indices of the teacher's levels beside them.
    """

    yields: ClassVar[str] = 'instances'

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        return []

    def loss_arguments(self, student: nn.Module, teacher: Any) -> dict[str, Any]:
        own, other = (sorted(set(widths)) for widths in zip(*super().widths(student, teacher)))
        if len(own) > 1 or len(other) > 1:
            raise ValueError(
                'instances needs levels of equal width, the student has '
                f'{own} and the teacher {other}'
            )
        return dict(
            num_classes=num_classes(student), student_channels=own[0], teacher_channels=other[0]
        )

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: Sequence[nn.Module]
    ) -> list[dict[str, Any]]:
        targets = [teacher.neck[level] for level in self.teacher_levels]
        pair = dict(
            student=[student.neck[level] for level in self.levels],
            teacher=targets,
            boxes=student.boxes,
            labels=student.labels,
            image_sizes=student.image_sizes,
        )
        masks = [image_mask(student, target) for target in targets]
        if masks[0] is not None:
            pair['mask'] = masks
        return [pair]
