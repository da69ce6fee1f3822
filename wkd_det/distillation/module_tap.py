"""The taps on modules by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.distillation.connecting import connected_shapes
from wkd_det.distillation.module_maps import ModuleMaps, empty_copies
from wkd_det.distillation.places import Place, check_names
from wkd_det.distillation.tap import Binding, Slot, Tap, cut_pair
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.ops.checks import check_booleans, check_integers


class ModulesTap(Tap):
    """Base of the taps on modules of the student, each with one of the teacher.

    Maps with channels last and sequences of tokens become maps ``(N, C, H, W)``; class and
    distillation tokens are dropped; a vector becomes a map of one pixel. A name that ends in
    ``:input`` stands for what the module is given, e.g. the map before an activation. Without a
    teacher the maps of the student are handed on alone.

    Args:
        modules: Names of modules of the student or of their places, or the name of one place.
        teacher_modules: Those of the teacher; the same by default.
        same_size: Refuse maps of different heights or widths.
        widths: Channels of student and teacher for each pair, for modules that are not reached
            when the networks are probed.
    """

    reads_alone: ClassVar[bool] = True

    def __init__(
        self,
        modules: Place,
        teacher_modules: Place | None,
        *,
        same_size: bool,
        widths: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        check_booleans(same_size=same_size)
        check_names(modules=modules, teacher_modules=teacher_modules)
        self.modules = modules
        self.teacher_places = modules if teacher_modules is None else teacher_modules
        self.same_size = same_size
        self.widths = widths

    def bind(self, student: nn.Module, teacher: Mapping[str, Any] | None) -> Binding:
        own, other = empty_copies(student, teacher)
        self.student_modules = tuple(self._found(student, 'student', own, self.modules))
        widths = list(zip(*self.widths)) if self.widths else [None, None]
        self._own = ModuleMaps(student, 'student', own, self.student_modules, widths[0])
        if other is None:
            return Binding(slots=self._slots(self._own, None))
        try:
            found = self._found(student, 'teacher', other, self.teacher_places)
        except KeyError:
            self._refuse_half_a_place(list(self.student_modules), 'unknown')
            raise
        self.teacher_modules = tuple(found)
        if len(found) != len(self.student_modules):
            self._refuse_half_a_place(list(self.student_modules), found)
            raise ValueError(
                'modules and teacher_modules must be as many, got '
                f'{list(self.student_modules)} and {found}'
            )
        self._other = ModuleMaps(student, 'teacher', other, found, widths[1])
        return Binding(slots=self._slots(self._own, self._other))

    def _found(self, model: nn.Module, owner: str, network: nn.Module, names: Place) -> list[str]:
        return model.places_of(owner, network).modules(owner, network, names)

    def _refuse_half_a_place(self, own: Any, other: Any) -> None:
        """Raise if both sides were asked for a place that they do not both have."""
        name = self.modules
        if isinstance(name, str) and name == self.teacher_places and own != [name]:
            own = own[0] if len(own) == 1 else own
            raise ValueError(
                f'the place {name!r} is {own} in the student and {other} in the teacher: set '
                f'places=dict({name}=(student, teacher))'
            )

    def _slots(self, own: ModuleMaps, other: ModuleMaps | None) -> tuple[Slot, ...]:
        if other is None:
            return tuple(
                Slot(width, None, (), size) for width, size in zip(own.channels, own.sizes)
            )
        each = zip(own.channels, other.channels, own.sizes, other.sizes)
        return tuple(
            Slot(source, target, self._levels(index), *sizes)
            for index, (source, target, *sizes) in enumerate(each)
        )

    def _levels(self, index: int) -> tuple[int, ...]:
        """Levels of a pyramid that a pair stands for, for terms that borrow its connector."""
        return ()

    def check(self, connectors: Sequence[Connector]) -> None:
        if not self.same_size or not self.needs_teacher:
            return
        sizes = self._other.sizes
        if None in self._own.sizes or None in sizes:
            return
        shapes = connected_shapes(connectors, self._slots(self._own, self._other))
        for index, (shape, size) in enumerate(zip(shapes, sizes)):
            if tuple(shape[-2:]) != size:
                raise ValueError(
                    f'the student gives {shape[-2]} x {shape[-1]} at '
                    f'{self.student_modules[index]!r} after its connector, the teacher '
                    f'{size[0]} x {size[1]} at {self.teacher_modules[index]!r}: use '
                    'TransposedConvConnector (doubles the size), ConvConnector with resize=True, '
                    'or same_size=False'
                )

    def read(
        self,
        student: StudentView,
        teacher: TeacherView | None,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        maps = self._own_maps(student)
        if teacher is None:
            return [
                self._pair(student, name, one, None)
                for name, one in zip(self.student_modules, maps)
            ]
        targets = self._other_maps(teacher)
        if self.same_size:
            targets = [
                teacher.fitted(name, one) for name, one in zip(self.teacher_modules, targets)
            ]
        sizes = [tuple(target.shape[-2:]) for target in targets]
        if connectors[0].spans_levels:
            maps = connectors[0](maps, sizes)
        else:
            maps = [one(*given) for one, *given in zip(connectors, maps, sizes)]
        return [
            self._pair(student, name, one, other)
            for name, one, other in zip(self.student_modules, maps, targets)
        ]

    def _own_maps(self, student: StudentView) -> list[Tensor]:
        return self._own.read(student)

    def _other_maps(self, teacher: TeacherView) -> list[Tensor]:
        return self._other.read(teacher)

    def _pair(self, student: StudentView, module: str, own: Tensor, target: Tensor | None) -> Pair:
        mask = student.image_mask(module, own if target is None else target)
        if target is not None and self.same_size:
            own, target, mask = cut_pair(own, target, mask)
        pair = dict(student=own, teacher=target, mask=mask)
        return {key: value for key, value in pair.items() if value is not None}


class ModuleTap(ModulesTap):
    """Features of a module of the student and of one of the teacher.

    Maps with channels last and sequences of tokens become maps ``(N, C, H, W)``; class and
    distillation tokens are dropped; a vector becomes a map of one pixel. Of a detector, modules
    of the backbone, the neck, dense heads and the box head can be tapped if they run once per
    pass.

    Args:
        module: Name of the student's module, e.g. ``'layer4'`` or ``'blocks.11'``; with
            ``:input`` at its end what the module is given, e.g. the map before an activation.
        teacher_tap: Name of the teacher's; the same by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are, for losses that compare statistics over all pixels.
        widths: Channels of the student's and of the teacher's module, for modules that are not
            reached when the networks are probed with an empty image.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self,
        module: str,
        *,
        teacher_tap: str | None = None,
        same_size: bool = True,
        widths: Sequence[int] | None = None,
    ) -> None:
        if widths is not None:
            if not isinstance(widths, Sequence) or len(widths) != 2:
                raise ValueError(f'widths must be two numbers of channels, got {widths!r}')
            check_integers(**dict(zip(('student_width', 'teacher_width'), widths)))
        super().__init__(
            module, teacher_tap, same_size=same_size, widths=None if widths is None else [widths]
        )

    def _found(self, model: nn.Module, owner: str, network: nn.Module, names: str) -> list[str]:
        return [model.places_of(owner, network).module(owner, network, names)]
