"""Facts that a loss is told when it is built: classes, widths and sizes of what it will compare."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from wkd_det.connectors import Connector, IdentityConnector
from wkd_det.distillation.connecting import connected_shapes
from wkd_det.distillation.tap import Binding

_Size = tuple[int, int] | None


def told(
    student: nn.Module,
    yields: str,
    binding: Binding,
    connectors: Sequence[Connector],
    asked: Collection[str],
) -> dict[str, Any]:
    """Arguments of a loss that follow from the networks.

    Args:
        student: The distilled model.
        yields: Kind of the pairs. Widths and sizes are told of ``'features'``, where all pairs
            agree, and of each map of a ``'pyramid'``.
        binding: Facts that the tap found out; they stand over all others.
        connectors: One per slot, or one for all of them.
        asked: Arguments that the loss has.
    """
    facts: dict[str, Any] = {}
    if 'num_classes' in asked:
        count = binding.num_classes
        facts['num_classes'] = student.num_classes_of(student) if count is None else count
    if yields in ('features', 'pyramid') and binding.projects == 'student' and binding.slots:
        values = dict(
            student_channels=_channels(binding, connectors),
            student_size=_sizes(binding, connectors) if 'student_size' in asked else [],
        )
        if all(slot.target is not None for slot in binding.slots):
            values['teacher_channels'] = [slot.target for slot in binding.slots]
            values['teacher_size'] = [slot.target_size for slot in binding.slots]
        for name, each in values.items():
            if yields == 'pyramid':
                facts[name] = tuple(each)
            elif len(set(each)) == 1:
                facts[name] = each[0]
    return {**facts, **binding.facts}


def _channels(binding: Binding, connectors: Sequence[Connector]) -> list[int]:
    """Widths of the student's maps behind the connectors."""
    if not connectors:
        return [slot.source for slot in binding.slots]
    if connectors[0].spans_levels:
        return [slot.target for slot in binding.slots]
    return [
        slot.source if isinstance(one, IdentityConnector) else slot.target
        for slot, one in zip(binding.slots, connectors)
    ]


def _sizes(binding: Binding, connectors: Sequence[Connector]) -> list[_Size]:
    """Sizes of the student's maps behind the connectors."""
    if not connectors:
        return [slot.source_size for slot in binding.slots]
    shapes = connected_shapes(connectors, binding.slots)
    return [None if shape is None else tuple(shape[-2:]) for shape in shapes]
