"""Tap on the logits."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.classification.classifier import network_of
from wkd_det.classification.last_layer import class_rows
from wkd_det.classification.student_pass import StudentPass
from wkd_det.classification.teacher_pass import TeacherPass
from wkd_det.distillation.tap import Tap
from wkd_det.distillation.teacher import Teacher


class LogitsTap(Tap):
    """Logits of both networks and the labels."""

    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True
    module: ClassVar[str] = ''
    teacher_module: ClassVar[str] = ''

    def num_classes(self, student: nn.Module) -> int | None:
        return student.num_classes

    def classifier_rows(self, teacher: nn.Module) -> Tensor:
        network = network_of(teacher)
        return class_rows(network, getattr(network, 'num_classes', None))

    def class_names(self, teacher: Teacher) -> list[str] | None:
        return teacher.class_names

    def pairs(
        self, student: StudentPass, teacher: TeacherPass, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        return [
            dict(
                student=student.outputs[self.module],
                teacher=teacher.outputs[self.teacher_module],
                target=student.labels,
            )
        ]
