"""Extras: what a loss may ask for beyond the values of its tap, and who gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wkd_det.distillation.tap import Tap
from wkd_det.distillation.view import StudentView, TeacherView
from wkd_det.losses.base import Loss


@dataclass(frozen=True)
class Extra:
    """One keyword argument of a loss that comes from the networks or from the batch."""

    read: Callable[[StudentView, TeacherView | None], Any]
    student_modules: tuple[str, ...] = ()
    """Modules of the student whose outputs are read."""
    teacher_modules: tuple[str, ...] = ()
    needs_teacher: bool = False
    compares_classes: bool = False
    """Whether student and teacher must have the same classes."""


EXTRAS: dict[str, Extra] = {
    'target': Extra(lambda student, teacher: student.labels()),
    'index': Extra(lambda student, teacher: student.indices()),
    'student_logits': Extra(lambda student, teacher: student.logits(), student_modules=('',)),
    'teacher_logits': Extra(
        lambda student, teacher: teacher.logits(),
        teacher_modules=('',),
        needs_teacher=True,
        compares_classes=True,
    ),
    'student_strong': Extra(lambda student, teacher: student.strong_logits()),
    'teacher_strong': Extra(
        lambda student, teacher: teacher.strong_logits(),
        needs_teacher=True,
        compares_classes=True,
    ),
    'student_head': Extra(lambda student, teacher: student.logits_of),
    'teacher_head': Extra(
        lambda student, teacher: teacher.logits_of, needs_teacher=True, compares_classes=True
    ),
}
"""All that a loss may name in ``needs``.

``target``: classes ``(N,)`` or soft labels ``(N, C)``. ``index``: indices of the samples in the
training set, ``(N,)``. ``student_logits``, ``teacher_logits``: ``(N, C)``, in the student's
classes. ``student_strong``, ``teacher_strong``: the same of the strong view of a batch with two.
``student_head``, ``teacher_head``: functions from vectors ``(..., D)`` at the input of the last
layer to logits ``(..., C)``.
"""


def extras_of(section: str, loss: Loss, tap: Tap, given: Sequence[str], giver: str) -> list[str]:
    """Extras that a term reads for its loss: those that the pairs of its tap lack.

    Args:
        section: Where the term stands in the config.
        loss: Says what it needs.
        tap: Says what its pairs hold.
        given: Extras that the views of the networks give.
        giver: Name of the model, for the message.

    Raises:
        ValueError: If the loss needs what neither gives, or a name that is no extra.
    """
    read = [name for name in loss.needs if name not in tap.gives]
    for name in read:
        if name not in EXTRAS:
            raise ValueError(
                f'{section}: {type(loss).__name__} needs {name}, which is none of {list(EXTRAS)}'
            )
        if name not in given:
            raise ValueError(
                f'{section}: {type(loss).__name__} needs {name}, which {type(tap).__name__} of a '
                f'{giver} does not give'
            )
    return read


def reads_teacher(tap: Tap, extras: Sequence[str]) -> bool:
    """Whether a term uses the teacher's view: for its tap, or for an extra.

    Args:
        tap: The tap of the term.
        extras: Names of the extras that it reads.
    """
    return tap.needs_teacher or any(EXTRAS[name].needs_teacher for name in extras)
