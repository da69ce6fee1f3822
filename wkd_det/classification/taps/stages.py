"""The taps on several modules of classifiers: stage by stage, or all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import nn

from wkd_det.connectors import Connector
from wkd_det.distillation.module_tap import ModulesTap
from wkd_det.distillation.places import Place
from wkd_det.distillation.tap import Binding
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.ops.checks import check_weights


class StagesTap(ModulesTap):
    """Features of several modules, one comparison per module; the loss is summed over them.

    Each has a connector of its own. Modules, maps and ``:input`` are those of
    :class:`~wkd_det.distillation.module_tap.ModuleTap`.

    Args:
        modules: Modules of the student, or the name of a place of several; all of its stages by
            default. A list may also name places.
        teacher_modules: Modules of the teacher to compare them with; the same names by default.
        weights: Factor of each in the sum; 1 each by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are.

    Raises:
        ValueError: If an option is no such list, or lengths differ.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self,
        *,
        modules: Place = 'stages',
        teacher_modules: Place | None = None,
        weights: Sequence[float] | None = None,
        same_size: bool = True,
    ) -> None:
        super().__init__(modules, teacher_modules, same_size=same_size)
        self.weights = weights

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        binding = super().bind(student, teacher)
        count = len(self.student_modules)
        check_weights('weights', self.weights, count, 'module')
        self.weights = self.weights or [1.0] * count
        return binding

    def _levels(self, index: int) -> tuple[int, ...]:
        return (index,)


class StagePyramidTap(ModulesTap):
    """Features of several modules in one comparison, as lists in the order of the names.

    A connector may take one map (there is one for each then) or, like ``ABFConnector``, all of
    them at once, from the largest to the smallest.

    Args:
        modules: Modules of the student from fine to coarse, or the name of a place of several; all
            of its stages by default. A list may also name places.
        teacher_modules: Modules of the teacher to compare them with; the same names by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are.

    Raises:
        ValueError: If an option is no such list, or lengths differ.
    """

    yields: ClassVar[str] = 'pyramid'

    def __init__(
        self,
        *,
        modules: Place = 'stages',
        teacher_modules: Place | None = None,
        same_size: bool = True,
    ) -> None:
        super().__init__(modules, teacher_modules, same_size=same_size)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        return replace(super().bind(student, teacher), joins_levels=True)

    def _levels(self, index: int) -> tuple[int, ...]:
        return (index,)

    def read(
        self,
        student: StudentView,
        teacher: TeacherView | None,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        pairs = super().read(student, teacher, connectors)
        return [{name: [pair[name] for pair in pairs] for name in pairs[0]}]
