"""Terms: the summands of a distillation objective."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.costs.interface import ClassTable
from wkd_det.costs.matrix import BACKGROUND
from wkd_det.distillation.extras import EXTRAS, reads_teacher
from wkd_det.distillation.gradient_share import GradientShare
from wkd_det.distillation.rows import chosen_rows
from wkd_det.distillation.tap import Binding, Tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.distillation.zeros import zero_of
from wkd_det.losses.base import Loss


class Term(nn.Module):
    """Tap, connectors and loss.

    Args:
        name: Key of the loss in the log; starts with ``loss_``.
        tap: Reads both networks.
        binding: Facts that the tap found out about them.
        connectors: Student width and size to the teacher's, one per slot of the binding, or one
            for all of them together. A plain tuple if they belong to another term, which saves
            and trains them.
        loss: Takes what the tap yields; returns a scalar, its weight included.
        extras: Arguments that are read for the loss beyond the pairs of the tap; names of
            :data:`~wkd_det.distillation.extras.EXTRAS`.
        teacher: Name of the teacher that it reads; None if it reads none.
        gradient_share: Weight of the loss that follows from gradients; None where it is a number.
    """

    def __init__(
        self,
        name: str,
        tap: Tap,
        binding: Binding,
        connectors: nn.ModuleList | tuple[Connector, ...],
        loss: Loss,
        extras: Sequence[str] = (),
        *,
        teacher: str | None = None,
        gradient_share: GradientShare | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.teacher = teacher
        self.tap = tap
        self.binding = binding
        self.connectors = connectors
        self.loss = loss
        self.gradient_share = gradient_share
        self.extras = tuple(extras)
        self._unasked = _unasked(loss)
        self.scale = 1.0
        self.full_weights = {part: getattr(loss, part) for part in loss.scalable}
        """Arguments of the loss that weigh a part of it, as configured."""

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher's view is used."""
        return reads_teacher(self.tap, self.extras)

    @property
    def compares_classes(self) -> bool:
        """Whether student and teacher must have the same classes."""
        if self.tap.needs_teacher and self.tap.compares_classes:
            return True
        return any(EXTRAS[name].compares_classes for name in self.extras)

    @property
    def reads_labels(self) -> bool:
        """Whether samples without a label do not count: its loss or its tap asks for labels."""
        return 'target' in self.loss.needs or self.tap.reads_labels

    def modules_of(self, owner: str) -> set[str]:
        """Modules of the ``'student'`` or the ``'teacher'`` that are recorded for this term."""
        if owner == 'teacher' and not self.needs_teacher:
            return set()
        sources: list[Any] = [EXTRAS[name] for name in self.extras]
        if owner == 'student' or self.tap.needs_teacher:
            sources.append(self.tap)
        return {name for one in sources for name in getattr(one, f'{owner}_modules')}

    def set_scale(self, scale: float, part: str | None = None) -> None:
        """Scale the configured weight, of the whole term or of one of ``full_weights``."""
        if part is None:
            self.scale = scale
        else:
            setattr(self.loss, part, scale * self.full_weights[part])

    def attach(self, student: nn.Module, teacher: Teacher | None) -> None:
        """Check that tap and networks fit, and give the loss the class distances it asks for.

        Args:
            student: The distilled model.
            teacher: The one that the term reads; None if it reads none.

        Raises:
            ValueError: If they do not fit.
        """
        module = teacher.module if self.tap.needs_teacher and teacher is not None else None
        self.tap.attach(student, module, self.connectors)
        for name in self.extras:
            if name.endswith('_head'):
                self._check_head(student, name, module if teacher is None else teacher.module)
        if self.loss.distance_source is not None:
            table = self._class_table(student, teacher)
            self.loss.set_distance(teacher.distances(self.loss.distance_source, table))
        if self.loss.teacher_modules:
            network = student.network_of(teacher.module)
            places = student.places_of('teacher', network)
            names = places.modules('teacher', network, self.loss.teacher_modules)
            modules = [network.get_submodule(name) for name in names]
            self.loss.set_teacher_modules(modules)

    def read(self, student: StudentView, teacher: TeacherView | None) -> list[Pair]:
        """Keyword arguments of the loss, one dict per comparison.

        Samples without a label are left out where loss or tap need labels; none where all are.

        Raises:
            ValueError: If pixels do not count and the loss counts all of them.
        """
        if self.reads_labels:
            student = student.labelled_part()
            if student is None:
                return []
            teacher = None if teacher is None else teacher.on_part(student)
        known = teacher if self.tap.needs_teacher else None
        pairs = self.tap.read(student, known, self.connectors)
        with said_of(f'distill.{self.name}: {type(self.loss).__name__}'):
            extras = {name: EXTRAS[name].read(student, teacher) for name in self.extras}
        labelled = student.labelled() if 'target' in self.loss.needs else None
        rows = None if labelled is None else labelled.nonzero().flatten()
        if 'mask' in self._unasked and any('mask' in pair for pair in pairs):
            raise ValueError(
                f'distill.{self.name}: {type(self.loss).__name__} takes no mask, and pixels of '
                'padding must not count: use images of one size'
            )
        return [
            {
                key: value if rows is None else chosen_rows(value, rows, len(labelled))
                for key, value in {**pair, **extras}.items()
                if key not in self._unasked
            }
            for pair in pairs
        ]

    def forward(self, pairs: list[Pair]) -> Tensor:
        """Mean of the loss over the comparisons, or their sum with the tap's weights; scalar."""
        values = [self.loss(**pair) for pair in pairs]
        weights = self.tap.weights or [1 / len(values)] * len(values)
        return sum(weight * value for weight, value in zip(weights, values))

    @property
    def factor(self) -> float | Tensor:
        """Scale in this step, times the weight where it follows from gradients."""
        share = self.gradient_share
        return self.scale if share is None else self.scale * share.weight()

    def scaled(self, value: Tensor) -> Tensor:
        """A value of :meth:`forward` times the factor, as it is added to the losses."""
        # An empty comparison bypasses a connector; DDP still wants its gradient, which is 0.
        return self.factor * value + self.zero()

    def zero(self) -> Tensor | float:
        """0 with a zero gradient for every parameter of the term."""
        parameters = [one for one in self.parameters() if one.requires_grad]
        return zero_of(*parameters) if parameters else 0.0

    def connector_of(self, level: int) -> Connector:
        """The connector of a level of the pyramid, for terms that borrow it.

        Raises:
            ValueError: If there is none.
        """
        if len(self.connectors) != len(self.binding.slots):
            raise ValueError(f'{type(self.connectors[0]).__name__} works on all levels at once')
        for slot, connector in zip(self.binding.slots, self.connectors):
            if slot.levels is None or level in slot.levels:
                return connector
        served = sorted(level for slot in self.binding.slots for level in slot.levels)
        raise ValueError(
            f'its levels are {served}, not {level}'
            if served
            else self.binding.lends_nothing
            or f'{type(self.tap).__name__} has no connector for a level of the pyramid'
        )

    def _check_head(self, student: nn.Module, name: str, teacher: nn.Module | None) -> None:
        model = student if name == 'student_head' else teacher
        try:
            student.check_head(model)
        except ValueError as error:
            kind = type(student.network_of(model)).__name__
            raise ValueError(
                f'distill.{self.name}: {type(self.loss).__name__} needs {name}, which {kind} does '
                f'not give: {error}'
            ) from None

    def _class_table(self, student: nn.Module, teacher: Teacher) -> ClassTable:
        names = teacher.class_names
        if names is not None and self.binding.background:
            names = [*names, BACKGROUND]
        count = student.num_classes_of(teacher.module)
        return ClassTable(
            count=self.binding.num_classes if count is None else count + self.binding.background,
            names=names,
            rows=lambda: self.tap.class_rows(teacher.module),
            section=teacher.section,
        )


@contextmanager
def said_of(subject: str) -> Iterator[None]:
    """Put a subject before the messages of errors in a config or a batch."""
    try:
        yield
    except (KeyError, ValueError) as error:
        message = str(error.args[0]) if error.args else ''
        if len(error.args) == 1 and not message.startswith('distill.'):
            error.args = (f'{subject}: {message}',)
        raise


def _unasked(loss: nn.Module) -> frozenset[str]:
    """Extras, and ``'mask'``, that the loss has no argument for; a tap may give more."""
    arguments = inspect.signature(loss.forward).parameters
    if any(one.kind is one.VAR_KEYWORD for one in arguments.values()):
        return frozenset()
    return frozenset((*EXTRAS, 'mask')) - arguments.keys()
