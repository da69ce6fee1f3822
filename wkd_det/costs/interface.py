"""Interface of the sources of class distances: the classes it is asked for, and its call."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from wkd_det import registry


@dataclass(frozen=True)
class ClassTable:
    """Classes of the teacher's logits, background last.

    They are in the teacher's order, or for a source that goes ``by_name`` those of the student.
    """

    count: int
    """Number of logits."""
    names: list[str] | None
    """Names of the classes, or None if the checkpoint has none."""
    rows: Callable[[], Tensor]
    """Weight vectors of the classes in the teacher's classifier, shape ``(C, D)``."""
    section: str = 'teacher'
    """Place of the teacher in the config, for messages."""

    def require_names(self) -> list[str]:
        """Return the names of the classes.

        Raises:
            ValueError: If they are unknown.
        """
        if self.names is None:
            raise ValueError(
                "the teacher's checkpoint has no class names to match: use one that has "
                '(meta.dataset_meta.classes), say them with '
                f'{self.section}.class_names=[...], or take distances that go by_position'
            )
        return self.names


class CostSource:
    """Base of the sources of class distances."""

    by_name: bool = False
    """Whether classes are found by their names alone. Such a source is asked for the student's
    classes, of which the teacher may have more; others are asked for all classes of the teacher."""

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``."""
        raise NotImplementedError


class DerivedCost(CostSource):
    """Base of the sources that change the distances of another one.

    Args:
        cost: Config of that source, or one; it decides whether classes are found by name.
    """

    def __init__(self, cost: Mapping[str, Any] | CostSource) -> None:
        self.source = adopt(registry.build(cost) if isinstance(cost, Mapping) else cost)
        self.by_name = getattr(self.source, 'by_name', False)


def adopt(source: Any) -> CostSource:
    """Make a source that was written for ``source(tap, teacher)`` one that takes a table.

    Sources had that form before 0.2; they work until 0.3.

    Raises:
        TypeError: If it cannot be called with a table.
    """
    if isinstance(source, CostSource):
        return source
    name = type(source).__name__
    if not callable(source):
        raise TypeError(f'a source of class distances must be callable, got {name}')
    if len(inspect.signature(source).parameters) != 2:
        return source
    warnings.warn(
        f'{name} takes (tap, teacher): derive it from wkd_det.costs.interface.CostSource, whose '
        'call takes a ClassTable; the old form works until wkd_det 0.3',
        FutureWarning,
        stacklevel=2,
    )

    def called(table: ClassTable) -> Tensor:
        tap = SimpleNamespace(
            classifier_rows=lambda module: table.rows(),
            class_names=lambda teacher: table.names,
            num_classes=lambda module: table.count,
        )
        return source(tap, SimpleNamespace(module=None, class_names=table.names))

    return called
