"""Where a distillation term reads student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.registry import Registry
from torch import Tensor, nn

from wkd_det.distillation.classes import ClassOrder

TAPS = Registry('wkd_det tap')


class Tap:
    """A place in both networks whose values a term compares.

    A subclass is registered in ``TAPS`` under the name that configs use; the keyword arguments of
    its ``__init__`` are the options a term may set. ``student`` and ``teacher`` of the methods
    are what the task records in one pass; a tap asks only for what it needs, and what no tap asks
    for is not computed.
    """

    yields: ClassVar[str]
    """What the loss of the term must take, e.g. ``'features'``, ``'pyramid'``, ``'logits'``."""
    compares_classes: ClassVar[bool] = False
    """Whether what is compared belongs to classes, which both networks must have then."""
    joins_levels: ClassVar[bool] = False
    """Whether a connector may take all levels at once (its ``spans_levels``)."""
    weights: Sequence[float] | None = None
    """Factor of each comparison in the term's sum; None takes their mean."""
    class_order: ClassOrder | None = None
    """The student's classes among the teacher's, where they differ; set by the term."""

    @property
    def projects(self) -> str:
        """Whose maps the connectors take: ``'student'``, or ``'teacher'`` for the way back."""
        return 'student'

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        """Channels before and after each connector that the tap needs: student's, teacher's.

        Called before the teacher is built: ``teacher`` is its model config.
        """
        return []

    def num_classes(self, student: nn.Module) -> int | None:
        """Number of logits, for taps that yield logits."""
        return None

    def loss_arguments(self, student: nn.Module, teacher: Any) -> dict[str, Any]:
        """Facts about the networks for losses that take them and are not told by the config.

        Called before the teacher is built: ``teacher`` is its model config.
        """
        return {}

    def connector_of(self, level: int, connectors: Sequence[nn.Module]) -> nn.Module:
        """The connector of a level of the student's pyramid, for terms that borrow it.

        Raises:
            ValueError: If there is none.
        """
        raise ValueError(f'{type(self).__name__} has no connector for a level of the pyramid')

    def check(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[nn.Module]
    ) -> None:
        """Refuse networks that do not fit, before the first iteration.

        Raises:
            ValueError: With both values.
        """

    def classifier_rows(self, teacher: nn.Module) -> Tensor:
        """Weight vectors of the teacher's classes among its logits, shape ``(C, D)``."""
        raise ValueError(f'{type(self).__name__} reads no classifier')

    def class_names(self, teacher: Any) -> list[str] | None:
        """Names of the classes of the teacher's logits, or None if the teacher has none."""
        return None

    def pairs(
        self, student: Any, teacher: Any, connectors: Sequence[nn.Module]
    ) -> list[dict[str, Any]]:
        """Arguments of the loss, one dict a comparison.

        ``student`` and ``teacher`` in it are tensors, or sequences of tensors. Logits are each
        network's own; the term brings the teacher's into the student's order.
        """
        raise NotImplementedError
