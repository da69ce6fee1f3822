"""Where a distillation term reads student and teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from mmengine.registry import Registry
from torch import Tensor, nn

TAPS = Registry('wkd_det tap')


class Tap:
    """A place in both networks whose values a term compares.

    A subclass is registered in ``TAPS`` under the name that configs use; the keyword arguments of
    its ``__init__`` are the options a term may set. ``student`` and ``teacher`` of the methods
    are what the task records in one pass; a tap asks only for what it needs, and what no tap asks
    for is not computed.
    """

    yields: ClassVar[str]
    """``'features'`` or ``'logits'``: what the loss of the term must take."""

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        """Channels (student's, teacher's) of each connector that the tap needs.

        Called before the teacher is built: ``teacher`` is its model config.
        """
        return []

    def num_classes(self, student: nn.Module) -> int | None:
        """Number of logits, for taps that yield logits."""
        return None

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        """Refuse networks that do not fit, before the first iteration.

        Raises:
            ValueError: With both values.
        """

    def classifier_rows(self, teacher: nn.Module) -> Tensor:
        """Weight vectors of the classes that the logits stand for, shape ``(C, D)``."""
        raise ValueError(f'{type(self).__name__} reads no classifier')

    def class_names(self, teacher: Any) -> list[str] | None:
        """Names of the classes that the logits stand for, or None if the teacher has none."""
        return None

    def pairs(
        self, student: Any, teacher: Any, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        """Arguments of the loss, one dict a comparison; the term takes their mean."""
        raise NotImplementedError


def find_tap(section: str, name: Any) -> Callable[..., Tap]:
    """What makes the tap that a term names; its keyword arguments are options of the term.

    A student whose taps have other names than the registered ones has a method of this name.

    Args:
        section: Where the term stands in the config.
        name: What it names.

    Raises:
        KeyError: With the valid names.
    """
    found = TAPS.get(name) if isinstance(name, str) else None
    if found is None:
        raise KeyError(f'{section}.tap must be one of {sorted(TAPS.module_dict)}, got {name!r}')
    return found
