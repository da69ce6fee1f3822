"""What one training pass of the student leaves behind for the terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det.classification.classifier import Classifier, class_rows, network_of
from wkd_det.classification.data import renormalize
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap, check_module
from wkd_det.distillation.recording import Outputs, recording
from wkd_det.distillation.tap import Tap
from wkd_det.distillation.teacher import Teacher


@dataclass
class StudentPass:
    """Outputs of the student's modules on one batch, and its labels."""

    outputs: Outputs
    labels: Tensor
    """Shape ``(N,)``."""


class TeacherPass:
    """Runs the teacher on one batch, once: when a tap asks for it, or earlier by :meth:`run`.

    Args:
        teacher: A classifier or a bare network, in eval mode.
        names: Modules of the network whose outputs the taps read.
        images: The student's batch, shape ``(N, C, H, W)``.
        preprocessor: The student's; where the teacher has another one, the batch is renormalised.
    """

    def __init__(
        self, teacher: nn.Module, names: Iterable[str], images: Tensor, preprocessor: nn.Module
    ) -> None:
        self._teacher = teacher
        self._names = names
        self._images = images
        self._preprocessor = preprocessor

    def run(self) -> None:
        """Run now: before the student, whose graph does not fill the memory yet.

        Then the teacher's intermediate results take turns in the same memory. Behind the graph
        each gets fresh pages, which costs up to a tenth of a step on a CPU.
        """
        self.outputs  # noqa: B018  a cached property

    @cached_property
    @torch.no_grad()
    def outputs(self) -> Outputs:
        """What the modules have returned."""
        images = self._images
        if isinstance(self._teacher, Classifier):
            images = renormalize(images, self._preprocessor, self._teacher.data_preprocessor)
        network = network_of(self._teacher)
        with recording(network, self._names) as outputs:
            network(images)
        return outputs


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


class DistilledClassifier(DistilledModel, Classifier):
    """Classifier with the sections ``teacher`` and ``distill``; see :class:`DistilledModel`.

    The tap of a term is ``'logits'`` or the name of a module of the student's network, whose
    options :class:`~wkd_det.distillation.module_tap.ModuleTap` lists. The teacher is a
    classifier or a bare network; where its preprocessor differs from the student's, the batch
    is renormalised for it.

    Args:
        *args: Of :class:`~wkd_det.classification.classifier.Classifier`.
        image_size: Side of the images, for which the shapes of features are found out.
        **kwargs: Of the classifier, and ``teacher``, ``distill`` and ``on_non_finite``.
    """

    def __init__(self, *args: Any, image_size: int = 224, **kwargs: Any) -> None:
        self.image_size = image_size
        super().__init__(*args, **kwargs)

    def find_tap(self, section: str, name: Any) -> Callable[..., Tap]:
        if name == 'logits':
            return LogitsTap
        if not isinstance(name, str):
            raise KeyError(f"{section}.tap must be 'logits' or a module's name, got {name!r}")
        try:
            check_module('student', self.network, name)
        except KeyError as error:
            raise KeyError(f"{section}.tap is not 'logits', and {error.args[0]}") from None
        return partial(ModuleTap, name)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Cross entropy and the distillation terms.

        Raises:
            KeyError: If a term has the name of a loss of the classifier.
            FloatingPointError: If a term is not finite, unless ``on_non_finite='skip'``.
        """
        self._fetch_teacher(images)
        if self.distiller is None:
            return super().loss(images, labels)
        taps = [term.tap for term in self.distiller.terms.values()]
        teacher = TeacherPass(
            self.distiller.teacher.module,
            {tap.teacher_module for tap in taps},
            images,
            self.data_preprocessor,
        )
        if self.distiller.is_on:
            teacher.run()
        with recording(self.network, {tap.module for tap in taps}) as outputs:
            losses = super().loss(images, labels)
        return self._with_terms(losses, StudentPass(outputs, labels), teacher)

    def _num_classes(self, model: nn.Module) -> int | None:
        return getattr(model, 'num_classes', None)
