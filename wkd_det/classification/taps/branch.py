"""The tap on branches: logits that connectors make of inner maps of the student."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.classification.classifier import class_rows, network_of
from wkd_det.connectors import Connector
from wkd_det.distillation.connecting import connected_shapes
from wkd_det.distillation.module_maps import ModuleMaps, empty_copies
from wkd_det.distillation.places import Place, check_names
from wkd_det.distillation.tap import Binding, Slot, Tap
from wkd_det.distillation.view import Pair, StudentView, TeacherView


class BranchTap(Tap):
    """Class logits that a connector makes of maps of the student, against the teacher's logits.

    Any loss of logits serves. The connector of each module, a branch, is given the map
    ``(N, C, H, W)`` and returns logits ``(N, K)`` or ``(N, K, 1, 1)``; ``teacher_channels`` is
    the number of classes K, and ``of_tokens`` says whether the map is made of tokens. The loss is
    summed over the branches. They are trained with the student and are no part of it.

    Args:
        module: Module or place of the student where the only branch begins.
        modules: Modules of the student for several branches, or a place, e.g. ``'stages'``.

    Raises:
        ValueError: If both or none of them is set.

    References: Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in
        Knowledge Distillation, NeurIPS 2023.
    """

    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True
    reads_alone: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ('target',)
    teacher_modules = ('',)

    def __init__(self, *, module: str | None = None, modules: Place | None = None) -> None:
        if (module is None) == (modules is None):
            raise ValueError(
                f'branch needs one of module and modules, got module={module!r} and '
                f'modules={modules!r}'
            )
        check_names(module=module, modules=modules)
        self.modules = [module] if modules is None else modules

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        own, _ = empty_copies(student, None)
        found = student.places_of('student', own).modules('student', own, self.modules)
        self.student_modules = tuple(found)
        self.weights = [1.0] * len(found)
        self._maps = ModuleMaps(student, 'student', own, found)
        self._classes = student.num_classes_of(student)
        each = zip(self._maps.channels, self._maps.sizes, self._maps.of_tokens)
        self._slots = tuple(
            Slot(width, self._classes, (), size, facts=dict(of_tokens=of_tokens))
            for width, size, of_tokens in each
        )
        return Binding(slots=self._slots, num_classes=self._classes)

    def attach(
        self, student: nn.Module, teacher: nn.Module | None, connectors: Sequence[Connector]
    ) -> None:
        shapes = connected_shapes(connectors, self._slots)
        for name, shape, connector in zip(self.student_modules, shapes, connectors):
            if shape is not None and (shape[0], math.prod(shape[1:])) != (2, self._classes):
                raise ValueError(
                    f'the branch at {name!r} gives {tuple(shape[1:])} per image, not '
                    f'{self._classes} logits: {type(connector).__name__} is no classifier'
                )

    def class_rows(self, teacher: nn.Module) -> Tensor:
        network = network_of(teacher)
        return class_rows(network, getattr(network, 'num_classes', None))

    def read(
        self,
        student: StudentView,
        teacher: TeacherView | None,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        maps = self._maps.read(student)
        own = [connector(one).flatten(1) for connector, one in zip(connectors, maps)]
        shared = dict(target=student.labels())
        if teacher is not None:
            shared['teacher'] = teacher.logits()
        return [dict(shared, student=logits) for logits in own]
