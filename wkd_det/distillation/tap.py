"""Taps: where a distillation term reads student and teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mmengine.registry import Registry
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.connectors import Connector
from wkd_det.distillation.view import Pair, StudentView, TeacherView

# mmengine warns of registries of known packages that name no location.
TAPS = Registry('wkd_det tap', locations=[__name__])
"""Taps of your own, by the name that configs use; those of this package: ``wkd_det.registry``."""


@dataclass(frozen=True)
class Slot:
    """Place of one connector: widths before and after it, and the levels that it serves."""

    source: int
    target: int | None
    """None where the student is read alone: there is no connector then."""
    levels: tuple[int, ...] | None = ()
    """Levels of the pyramid whose maps it takes; None for every level."""
    source_size: tuple[int, int] | None = None
    """Height and width of the map before it, where they are known when it is built."""
    target_size: tuple[int, int] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the connector that follow from the networks."""


@dataclass(frozen=True)
class Binding:
    """Facts that a tap finds out about two networks, before connectors and loss are built."""

    slots: tuple[Slot, ...] = ()
    """One per connector; empty if no feature maps are compared."""
    num_classes: int | None = None
    """Number of the student's logits, for taps that yield logits."""
    background: bool = False
    """Whether the last of them is background."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the loss that follow from the networks."""
    projects: str = 'student'
    """Whose maps the connectors take: ``'student'``, or ``'teacher'`` for the way back."""
    joins_levels: bool = False
    """Whether one connector may take all levels at once."""
    lends_nothing: str = ''
    """Reason why no slot serves a level of the pyramid, for terms that want to borrow one."""


def common_part(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps of one level, cut to the size that both have.

    Networks round the size of a level up or down where it does not divide the image's, so maps of
    one stride may differ by a pixel at the lower and the right border. Maps that differ by more
    are returned as they are.
    """
    sizes = [(a, b) for a, b in zip(own.shape[-2:], other.shape[-2:])]
    if own.shape[-2:] == other.shape[-2:] or any(abs(a - b) > 1 for a, b in sizes):
        return own, other
    height, width = (min(pair) for pair in sizes)
    return own[..., :height, :width], other[..., :height, :width]


def cut_pair(
    own: Tensor, target: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two maps of one level and the mask of the second, cut to the size that both have.

    Args:
        own: Map of the student, shape ``(N, C, H, W)``.
        target: That of the teacher, ``(N, C', H', W')``.
        mask: Pixels of it that count, bool ``(N, H', W')``; None where all of them do.

    Returns:
        All three as :func:`common_part` cuts maps.
    """
    own, target = common_part(own, target)
    if mask is not None:
        height, width = target.shape[-2:]
        mask = mask[:, :height, :width]
    return own, target, mask


class Tap:
    """A place in both networks whose values a term compares.

    The keyword arguments of ``__init__`` are the options that a term may set. A tap asks its
    views for no more than it needs, and nothing is computed that no tap asks for.
    """

    yields: str
    """Kind of its pairs, which the loss of the term must take, e.g. ``'features'``."""
    compares_classes: ClassVar[bool] = False
    """Whether its values belong to classes, which both networks must have then."""
    needs_teacher: bool = True
    """Whether :meth:`read` uses the teacher's view; False in a term whose loss needs none."""
    reads_alone: ClassVar[bool] = False
    """Whether it can do without a teacher: :meth:`bind`, :meth:`attach` and :meth:`read` get None
    for it then, and the pairs have no ``teacher``."""
    reads_labels: bool = False
    """Whether it reads what is known of labelled samples only, e.g. boxes of objects; it gets the
    view of these then."""
    gives: tuple[str, ...] = ()
    """Extras that its pairs hold; see :mod:`wkd_det.distillation.extras`."""
    weights: Sequence[float] | None = None
    """Factor of each pair in the term's sum; None takes their mean."""
    student_modules: tuple[str, ...] = ()
    """Modules of the student whose outputs, or with ``:input`` inputs, are read."""
    teacher_modules: tuple[str, ...] = ()
    """Those of the teacher."""

    def look(self, student: nn.Module) -> None:
        """Settle what depends on the student alone, such as the kind of the pairs; called first.

        Args:
            student: The distilled model.

        Raises:
            ValueError: If it cannot be read here.
        """

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        """Find out what connectors and loss must know.

        Args:
            student: The distilled model.
            teacher: Model config of the teacher, which is not built yet.

        Raises:
            ValueError: If the networks cannot be compared here.
        """
        return Binding()

    def check(self, connectors: Sequence[Connector]) -> None:
        """Refuse connectors that do not bring the student's maps to the size of the teacher's.

        Called when the model is built, after :meth:`bind`.

        Args:
            connectors: Those that were built for the slots.

        Raises:
            ValueError: With both sizes.
        """

    def attach(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[Connector]
    ) -> None:
        """Refuse networks that do not fit, before the first iteration; both are built.

        Raises:
            ValueError: With both values.
        """

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        """Keyword arguments of the loss, one dict per comparison.

        ``student`` and ``teacher`` in it are tensors or sequences of tensors.
        """
        raise NotImplementedError

    def class_rows(self, teacher: nn.Module) -> Tensor:
        """Weight vectors of the teacher's classes among its logits, shape ``(C, D)``.

        In the teacher's order, background last.

        Raises:
            ValueError: If there are none.
        """
        raise ValueError(f'{type(self).__name__} reads no classifier')


def find_tap(section: str, name: Any) -> Callable[..., Tap]:
    """The class of a tap of this package or of the user; its keyword arguments are options.

    Args:
        section: Where the term stands in the config.
        name: As in the config.

    Raises:
        KeyError: With the valid names.
    """
    tap = known_tap(name, registry.TAPS)
    if tap is None:
        raise KeyError(f'{section}.tap must be one of {tap_names()}, got {name!r}')
    return tap


def tap_names() -> list[str]:
    """Names of the taps of this package and of the user."""
    return sorted({*registry.TAPS, *TAPS.module_dict})


def known_tap(name: Any, table: Mapping[str, str]) -> Callable[..., Tap] | None:
    """The class of a tap of the user or of a table; None if neither has the name.

    Args:
        name: As in the config.
        table: Places of taps by name, such as ``registry.TAPS``.
    """
    if not isinstance(name, str):
        return None
    if name in TAPS.module_dict:
        return TAPS.get(name)
    return registry.load(name, table[name]) if name in table else None
