"""Facts that a loss is told when it is built: classes, widths and sizes of what it will compare."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from wkd_det.connectors import Connector, IdentityConnector
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
    """Sizes of the student's maps behind the connectors, found on the meta device."""
    slots = binding.slots
    sizes: list[_Size] = [slot.source_size for slot in slots]
    if all(isinstance(one, IdentityConnector) for one in connectors):
        return sizes
    empty = [
        None if slot.source_size is None else torch.zeros(1, slot.source, *slot.source_size)
        for slot in slots
    ]
    maps = [one if one is None else one.to('meta') for one in empty]
    copies = [copy.deepcopy(one).to('meta').eval() for one in connectors]
    with torch.no_grad():
        if copies[0].spans_levels:
            if None in sizes:
                return [None] * len(slots)
            found = copies[0](maps, [slot.target_size for slot in slots])
        else:
            found = [
                None if one is None else connector(one, slot.target_size)
                for connector, one, slot in zip(copies, maps, slots)
            ]
    return [None if one is None else tuple(one.shape[-2:]) for one in found]
