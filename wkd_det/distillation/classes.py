"""Classes of student and teacher: matched by name, and brought into the student's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MessageHub, print_log
from mmengine.visualization import Visualizer
from torch import Tensor

from wkd_det.costs.interface import ClassTable
from wkd_det.runtime.class_names import names_in, positions_by_name, same_names


class ClassOrder:
    """Order of the student's classes among the teacher's, applied to the teacher's outputs.

    Classes that the student does not know are background to it: their probability goes to the
    background class where there is one, and is left out of the softmax where there is none.

    Args:
        indices: For each class of the student, its index among the teacher's classes. None: both
            have the same classes in the same order, and everything is returned as it is.
        teacher_classes: Number of the teacher's classes, background not counted.
    """

    def __init__(
        self, indices: Sequence[int] | None = None, teacher_classes: int | None = None
    ) -> None:
        self.is_identity = indices is None
        if indices is None:
            return
        self.indices = list(indices)
        self.teacher_classes = teacher_classes
        self._kept = torch.tensor(self.indices)
        self._rest = torch.tensor(
            [index for index in range(teacher_classes + 1) if index not in set(self.indices)]
        )

    def logits(self, logits: Tensor) -> Tensor:
        """The teacher's logits as the student would order them.

        Args:
            logits: Shape ``(..., T)``, or ``(..., T + 1)`` with background as the last class.

        Returns:
            Shape ``(..., S)`` or ``(..., S + 1)``. The softmax of the latter gives background the
            probability of background and of all classes that the student does not know.

        Raises:
            ValueError: If the width is neither.
        """
        if self.is_identity:
            return logits
        has_background = self._has_background(logits.shape[-1])
        self._kept, self._rest = (part.to(logits.device) for part in (self._kept, self._rest))
        kept = logits.index_select(-1, self._kept)
        if not has_background:
            return kept
        rest = logits.index_select(-1, self._rest).logsumexp(dim=-1, keepdim=True)
        return torch.cat([kept, rest.to(kept)], dim=-1)

    def offsets(self, offsets: Tensor) -> Tensor:
        """The teacher's box offsets in the student's order, ``(N, 4 T)`` to ``(N, 4 S)``.

        Offsets that all classes share, ``(N, 4)``, are the same in any order.

        Raises:
            ValueError: If the width is neither.
        """
        if self.is_identity or offsets.shape[1] == 4:
            return offsets
        if offsets.shape[1] != 4 * self.teacher_classes:
            raise ValueError(
                f'the teacher has {self.teacher_classes} classes, which gives 4 or '
                f'{4 * self.teacher_classes} offsets, got {offsets.shape[1]}'
            )
        self._kept = self._kept.to(offsets.device)
        return offsets.unflatten(1, (-1, 4)).index_select(1, self._kept).flatten(1)

    def matrix(self, values: Tensor) -> Tensor:
        """Rows and columns ``(T, T)`` or ``(T + 1, T + 1)`` in the student's order.

        Raises:
            ValueError: If the size is neither.
        """
        if self.is_identity:
            return values
        order = self._rows(len(values))
        return values[order][:, order]

    def table(self, table: ClassTable) -> ClassTable:
        """The student's classes of a table of the teacher's, by the teacher's names.

        Raises:
            ValueError: If the table covers other classes.
        """
        if self.is_identity:
            return table
        order = self._rows(table.count)
        return ClassTable(
            count=len(order),
            names=None if table.names is None else [table.names[index] for index in order],
            rows=lambda: table.rows()[order],
            section=table.section,
        )

    def _rows(self, count: int) -> list[int]:
        background = [self.teacher_classes] if self._has_background(count) else []
        return self.indices + background

    def _has_background(self, width: int) -> bool:
        if width not in (self.teacher_classes, self.teacher_classes + 1):
            raise ValueError(
                f'the teacher has {self.teacher_classes} classes, which gives '
                f'{self.teacher_classes} logits, or one more with background; got {width}'
            )
        return width > self.teacher_classes


RULES = ('same', 'subset', 'any')


def match_classes(
    own: int | None,
    other: int | None,
    teacher_names: list[str] | None,
    rule: str,
    *,
    section: str = 'teacher',
) -> ClassOrder:
    """Find the student's classes among the teacher's, by name.

    Names are compared where both are known: the teacher's from its checkpoint, the student's
    from the data set that the runner trains on. The order may differ.

    Args:
        own: Number of the student's classes, or None where it is unknown.
        other: Number of the teacher's; 0 where it has none, which leaves nothing to compare.
        teacher_names: Names of the teacher's classes, or None where its checkpoint has none.
        rule: ``'same'``: both have the same classes. ``'subset'``: the teacher may have more.
            ``'any'``: nothing is compared.
        section: Place of the teacher in the config, for messages.

    Returns:
        The identity if nothing differs or nothing is known.

    Raises:
        ValueError: With the numbers or the names that differ.
    """
    if rule == 'any' or other == 0:
        return ClassOrder()
    if rule == 'same' and own != other:
        raise ValueError(
            f'the student has {own} classes and the teacher {other}; a teacher that has more is '
            f"taken with {section}.classes='subset', one whose classes do not matter, because "
            f"terms compare features only, with {section}.classes='any'"
        )
    if teacher_names is not None and len(teacher_names) != other:
        raise ValueError(
            f'the teacher has {other} classes, its checkpoint or {section}.class_names names '
            f'{len(teacher_names)}'
        )
    names = training_class_names()
    if names is None or teacher_names is None or len(names) != own:
        if rule == 'subset':
            raise ValueError(
                f"{section}.classes='subset' needs the names of all classes: the student's are "
                f"{_known(names)}, the teacher's {_known(teacher_names)}"
            )
        print_log(
            'class names of student or teacher are unknown: only their number is compared',
            logger='current',
        )
        return ClassOrder()
    return order_of(names, teacher_names, section=section)


def order_of(names: list[str], teacher_names: list[str], *, section: str = 'teacher') -> ClassOrder:
    """Find each of the student's names among the teacher's.

    Args:
        names: Names of the student's classes in order.
        teacher_names: Those of the teacher's.
        section: Place of the teacher in the config, for messages.

    Returns:
        The identity if both name the same classes in the same order, in any spelling.

    Raises:
        ValueError: If the teacher lacks a name, or one to be matched occurs twice.
    """
    if same_names(names, teacher_names):
        if names != teacher_names:
            print_log('class names of student and teacher differ in spelling', logger='current')
        return ClassOrder()
    positions = positions_by_name(names, teacher_names, 'the student', 'the teacher')
    for index, (name, position) in enumerate(zip(names, positions)):
        if position is not None:
            continue
        other = repr(teacher_names[index]) if index < len(teacher_names) else 'nothing'
        raise ValueError(
            f'class {index} is {name!r} for the student and {other} for the teacher, which has '
            f'no {name!r}; {section}.class_names=[...] says what its classes are called'
        )
    print_log(
        f"the teacher's {len(teacher_names)} classes are brought into the order of the student's "
        f'{len(names)} by name',
        logger='current',
    )
    return ClassOrder(positions, len(teacher_names))


def _known(names: list[str] | None) -> str:
    return 'unknown' if names is None else f'{len(names)} names'


def training_class_names() -> list[str] | None:
    """Class names of the data set that the current runner trains on, or None.

    The loops of mmengine hand them to the visualizer when they are built, which is before weights
    are initialised; the validation loop last. So these are the names of both data sets, or
    :class:`NamesInTraining` refuses them before the first step.
    """
    if not Visualizer._instance_dict:
        return None
    return names_in(Visualizer.get_current_instance().dataset_meta)


class NamesInTraining:
    """Refuses to train on classes that are not those the teacher was compared with.

    Made when the teacher is loaded. mmengine publishes the names of the training data after that,
    when training begins; names that an earlier run in the process has left do not count.

    Args:
        own: Number of the student's classes.
        teacher_names: Names of the teacher's.
    """

    def __init__(self, own: int | None, teacher_names: list[str]) -> None:
        self._own = own
        self._names = training_class_names()
        self._teacher_names = teacher_names
        self._before = _told_by_mmengine()

    def check(self) -> None:
        """Compare, in the first step.

        Raises:
            ValueError: With both lists of names.
        """
        told = _told_by_mmengine()
        if told is None or told is self._before:
            return
        trained = names_in(told)
        if trained is None or len(trained) != self._own:
            return
        late = self._names is None and not same_names(trained, self._teacher_names)
        if late:  # as with FlexibleRunner
            raise ValueError(
                f'the training data have the classes {trained}, the teacher '
                f'{self._teacher_names}, and this runner names the former too late to match them'
            )
        if self._names is not None and not same_names(trained, self._names):
            raise ValueError(
                f'the training data have the classes {trained}, the validation data '
                f"{self._names}: give both the same metainfo, or the teacher's classes cannot be "
                'matched'
            )


def _told_by_mmengine() -> Any:
    if not MessageHub._instance_dict:
        return None
    return MessageHub.get_current_instance().runtime_info.get('dataset_meta')
