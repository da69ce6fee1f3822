"""The distilled classifier: its views of both networks, its taps and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.classification.classifier import Classifier, class_rows, network_of
from wkd_det.classification.data import renormalize
from wkd_det.connectors import Connector
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap, check_module, image_channels
from wkd_det.distillation.recording import Recorded, recording
from wkd_det.distillation.tap import TAPS, Binding, Tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.view import Pair, StudentView, TeacherView


class ClassifierStudentView(StudentView):
    """Outputs of modules in one pass of the student.

    Args:
        module: The student.
        inputs: The batch, shape ``(N, C, H, W)``.
        labels: Classes, shape ``(N,)``.
        modules: Names of modules of the network whose outputs are recorded.
    """

    def __init__(
        self, module: Classifier, inputs: Tensor, labels: Tensor, modules: Sequence[str]
    ) -> None:
        super().__init__(module, inputs)
        self._labels = labels
        self._modules = modules
        self._outputs = Recorded()

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    def logits(self, stage: int = 0) -> Tensor:
        return self.output('')

    def labels(self, stage: int = 0) -> Tensor:
        return self._labels

    @contextmanager
    def recording(self) -> Iterator[None]:
        with recording(self.module.network, self._modules, into=self._outputs):
            yield


class ClassifierTeacherView(TeacherView):
    """Outputs of modules of the teacher, which runs once: at :meth:`start` or when asked.

    Args:
        teacher: A classifier or a bare network; its classes are brought into the student's order.
        student: The student's view of the batch. Where the teacher has another preprocessor, the
            batch is renormalised.
        modules: Names of modules of the network whose outputs are recorded.
    """

    def __init__(
        self, teacher: Teacher, student: ClassifierStudentView, modules: Sequence[str]
    ) -> None:
        super().__init__(teacher.module)
        self._teacher = teacher
        self._student = student
        self._modules = modules

    def start(self) -> None:
        self._outputs  # noqa: B018  a cached property

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    def logits(self, stage: int = 0) -> Tensor:
        return self._teacher.logits(self.output(''))

    @cached_property
    @torch.no_grad()
    def _outputs(self) -> Recorded:
        images = self._student.inputs
        if isinstance(self.module, Classifier):
            own, other = self._student.module.data_preprocessor, self.module.data_preprocessor
            images = renormalize(images, own, other)
        network = network_of(self.module)
        with recording(network, self._modules) as outputs:
            network(images)
        return outputs


class LogitsTap(Tap):
    """Logits of both networks and the labels."""

    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True
    student_modules = ('',)
    teacher_modules = ('',)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        return Binding(num_classes=student.num_classes)

    def class_rows(self, teacher: nn.Module) -> Tensor:
        network = network_of(teacher)
        return class_rows(network, getattr(network, 'num_classes', None))

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        logits = student.logits()
        return [dict(student=logits, teacher=teacher.logits(), target=student.labels())]


class DistilledClassifier(DistilledModel, Classifier):
    """Classifier with the sections ``teacher`` and ``distill``.

    The tap of a term is ``'logits'`` or the name of a module of the student's network, whose
    options :class:`~wkd_det.distillation.module_tap.ModuleTap` lists. The teacher is a
    classifier or a bare network; where its preprocessor differs from the student's, the batch
    is renormalised for it.

    Args:
        *args: Arguments of :class:`~wkd_det.classification.classifier.Classifier`.
        image_size: Side of the images, for which the shapes of features are found out.
        **kwargs: Arguments of the classifier, and ``teacher``, ``distill`` and ``on_non_finite``
            of :class:`~wkd_det.distillation.model.DistilledModel`.
    """

    def __init__(self, *args: Any, image_size: int = 224, **kwargs: Any) -> None:
        self.image_size = image_size
        super().__init__(*args, **kwargs)

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        if name == 'logits':
            return LogitsTap
        if not isinstance(name, str):
            raise KeyError(f"{section}.tap must be 'logits' or a module's name, got {name!r}")
        if name in TAPS.module_dict:
            return TAPS.get(name)
        try:
            check_module('student', self.network, name)
        except KeyError as error:
            raise KeyError(f"{section}.tap is not 'logits', and {error.args[0]}") from None
        return partial(ModuleTap, name)

    def num_classes_of(self, model: nn.Module) -> int | None:
        return getattr(model, 'num_classes', None)

    def network_of(self, model: nn.Module) -> nn.Module:
        return network_of(model)

    def probe(self, network: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, ...]]:
        network.eval()
        shape = (1, image_channels(network), self.image_size, self.image_size)
        images = torch.zeros(shape, device='meta')
        with torch.no_grad(), recording(network, modules) as recorded:
            network(images)
        return {name: tuple(recorded[name].shape) for name in modules if name in recorded}

    def _views(
        self, inputs: Tensor, targets: Tensor
    ) -> tuple[ClassifierStudentView, ClassifierTeacherView | None]:
        modules = self.distiller.modules_of
        student = ClassifierStudentView(self, inputs, targets, modules('student'))
        teacher = self.distiller.teacher
        if teacher is None:
            return student, None
        return student, ClassifierTeacherView(teacher, student, modules('teacher'))
