"""The tap on the logits of classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.classification.classifier import class_rows, network_of
from wkd_det.connectors import Connector
from wkd_det.distillation.tap import Binding, Tap
from wkd_det.distillation.view import Pair, StudentView, TeacherView


class LogitsTap(Tap):
    """Logits of both networks, or of the student alone, and the labels."""

    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True
    reads_alone: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ('target',)
    student_modules = ('',)
    teacher_modules = ('',)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        return Binding(num_classes=student.num_classes)

    def class_rows(self, teacher: nn.Module) -> Tensor:
        network = network_of(teacher)
        return class_rows(network, getattr(network, 'num_classes', None))

    def read(
        self,
        student: StudentView,
        teacher: TeacherView | None,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        pair = dict(student=student.logits(), target=student.labels())
        return [pair if teacher is None else dict(pair, teacher=teacher.logits())]
