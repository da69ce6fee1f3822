"""The distilled classifier: its views of both networks, its taps and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.classification.classifier import (
    Classifier,
    class_rows,
    network_of,
    split_auxiliary,
)
from wkd_det.classification.data import TeacherImages
from wkd_det.connectors import Connector
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap, check_module
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
        return _logits_in(self._outputs)

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
        teacher_images: Makes the teacher's batch from the student's.
        student: The student's view of the batch.
        modules: Names of modules of the network whose outputs are recorded.
    """

    def __init__(
        self,
        teacher: Teacher,
        teacher_images: TeacherImages,
        student: ClassifierStudentView,
        modules: Sequence[str],
    ) -> None:
        super().__init__(teacher.module)
        self._teacher = teacher
        self._teacher_images = teacher_images
        self._student = student
        self._modules = modules

    def start(self) -> None:
        self._outputs  # noqa: B018  a cached property

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    def logits(self, stage: int = 0) -> Tensor:
        return self._teacher.logits(_logits_in(self._outputs))

    @cached_property
    @torch.no_grad()
    def _outputs(self) -> Recorded:
        images = self._teacher_images(self._student.inputs)
        network = network_of(self.module)
        with recording(network, self._modules) as outputs:
            _run('teacher', network, images)
        return outputs


def _logits_in(outputs: Recorded) -> Tensor:
    """Return the logits in the recorded output of a network, without auxiliary ones."""
    output = outputs.latest('')
    return split_auxiliary(output)[0] if isinstance(output, tuple) else outputs['']


def _run(owner: str, network: nn.Module, images: Tensor) -> None:
    """Run a network on images.

    Raises:
        ValueError: If it takes images of another size.
    """
    try:
        network(images)
    except AssertionError as error:  # Transformers compare the size with that of their positions
        height, width = images.shape[-2:]
        raise ValueError(
            f'the {owner} {type(network).__name__} does not take images of {height} x {width} '
            f'pixels ({error}): where it has an option for their size, e.g. img_size or '
            'image_size, set it in its network'
        ) from error


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
        self._teacher_images: TeacherImages | None = None
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

    @property
    def probe_size(self) -> int:
        return self.image_size

    def run_probe(self, network: nn.Module, image: Tensor) -> None:
        network(image)

    def probe(self, network: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, ...]]:
        network.eval()
        image = self.probe_image(network)
        with torch.no_grad(), recording(network, modules) as recorded:
            _run('network', network, image)
        return {name: tuple(recorded[name].shape) for name in modules if name in recorded}

    def _views(
        self, inputs: Tensor, targets: Tensor
    ) -> tuple[ClassifierStudentView, ClassifierTeacherView | None]:
        modules = self.distiller.modules_of
        student = ClassifierStudentView(self, inputs, targets, modules('student'))
        teacher = self.distiller.teacher
        if teacher is None:
            return student, None
        images = self._teacher_images
        return student, ClassifierTeacherView(teacher, images, student, modules('teacher'))

    def _load_teacher(self) -> Teacher | None:
        teacher = super()._load_teacher()
        if teacher is not None:
            own = self.data_preprocessor
            # A bare network takes what the student takes.
            plain = not isinstance(teacher.module, Classifier)
            other = own if plain else teacher.module.data_preprocessor
            repeats = self._repeats_grey(teacher)
            self._teacher_images = TeacherImages(own, other, repeats=repeats)
        return teacher
