"""Connectors of a term: built from its section, or borrowed from another term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from wkd_det import registry
from wkd_det.connectors import Connector
from wkd_det.connectors import adopt as adopt_connector
from wkd_det.distillation.empty import empty_copy
from wkd_det.distillation.tap import Binding, Slot
from wkd_det.runtime.config import build_strict


def borrow_connectors(
    section: str,
    lender: str,
    binding: Binding,
    teacher: str | None,
    lenders: Mapping[str, Any],
) -> tuple[Connector, ...]:
    """The connectors that another term has for the levels of the pyramid.

    Both terms bring the same level from the same network to the other one, so widths agree.

    Args:
        section: Place of the borrowing term in the config.
        lender: Name of the other term.
        binding: Facts that the tap of the borrowing term found out.
        teacher: Name of the teacher that the borrowing term reads.
        lenders: Terms that may lend.

    Raises:
        KeyError: If the other term is not there or has none.
        ValueError: If its connectors do not serve the levels of this one, or it has another
            teacher.
    """
    _refuse_nothing(section, binding)
    own = {name for name, term in lenders.items() if isinstance(term.connectors, nn.ModuleList)}
    if lender not in own:
        raise KeyError(
            f'{section}.connector must be a config or the name of a term with connectors of its '
            f'own, one of {sorted(own)}, got {lender!r}'
        )
    term = lenders[lender]
    if term.teacher != teacher:
        raise ValueError(
            f'{section} reads the teacher {teacher!r}, but the connectors of distill.{lender} lead '
            f'to the teacher {term.teacher!r}'
        )
    if term.binding.projects != binding.projects:
        raise ValueError(
            f"{section} projects the {binding.projects}'s maps, but the connectors of "
            f"distill.{lender} the {term.binding.projects}'s"
        )
    try:
        return tuple(term.connector_of(level) for level in range(len(binding.slots)))
    except ValueError as error:
        raise ValueError(f'{section}.connector: distill.{lender}: {error}') from None


def build_connectors(
    section: str, config: Mapping[str, Any] | None, binding: Binding, mixes_widths: bool
) -> nn.ModuleList:
    """Connectors of a term of its own, one per slot or one that spans all levels.

    Args:
        section: Place of the term in the config.
        config: The connector; None for none, where widths are equal.
        binding: Facts that the tap found out.
        mixes_widths: Whether the loss compares maps of different widths without a connector.

    Raises:
        ValueError: If widths differ and there is no connector, or it has nothing to connect.
    """
    slots = [slot for slot in binding.slots if slot.target is not None]
    if config is not None:
        _refuse_nothing(section, binding)
    kind = config.get('type') if isinstance(config, Mapping) else None
    cls = registry.find(kind) if isinstance(kind, str) else kind
    if getattr(cls, 'spans_levels', False):  # a connector of the user may lack the base
        if not binding.joins_levels:
            raise ValueError(
                f'{section}.connector: {kind} works on all levels of a map tap at once'
            )
        return nn.ModuleList([_connector(section, config, **_all_of(slots))])
    connectors = nn.ModuleList()
    for index, slot in enumerate(slots):
        if config is None and slot.source != slot.target and not mixes_widths:
            raise ValueError(
                f'{section} needs a connector: the student has {slot.source} channels '
                f'there, the teacher {slot.target}'
            )
        connectors.append(
            _connector(
                section,
                config or _identity(slot, mixes_widths),
                student_channels=slot.source,
                teacher_channels=slot.target,
                student_size=slot.source_size,
                teacher_size=slot.target_size,
                **{'stage': index, 'num_stages': len(slots), **slot.facts},
            )
        )
    return connectors


def connected_shapes(
    connectors: Sequence[Connector], slots: Sequence[Slot]
) -> list[torch.Size | None]:
    """Shapes ``(2, ...)`` of two images behind the connectors, one per slot.

    They are run on the meta device, where nothing is computed. The shape is None where the size
    before the connector is not known; of one that spans levels, where any is not.
    """
    maps = [
        None
        if slot.source_size is None
        else torch.zeros(2, slot.source, *slot.source_size, device='meta')
        for slot in slots
    ]
    sizes = [slot.target_size for slot in slots]
    copies = [empty_copy(one) for one in connectors]
    with torch.no_grad():
        if copies and copies[0].spans_levels:
            known = all(one is not None for one in maps)
            found = copies[0](maps, sizes) if known else [None] * len(maps)
        else:
            found = [
                None if one is None else connector(one, size)
                for connector, one, size in zip(copies, maps, sizes)
            ]
    return [None if one is None else one.shape for one in found]


def _refuse_nothing(section: str, binding: Binding) -> None:
    if not any(slot.target is not None for slot in binding.slots):
        raise ValueError(f'{section}.connector is set, but the tap compares no feature maps')


def _connector(section: str, config: Mapping[str, Any], **told: Any) -> Connector:
    names = [*registry.CONNECTORS]
    return adopt_connector(build_strict(f'{section}.connector', config, names, **told))


def _identity(slot: Slot, mixes_widths: bool) -> dict[str, Any]:
    identity = dict(type='IdentityConnector')
    return dict(identity, teacher_channels=slot.source) if mixes_widths else identity


def _all_of(slots: Sequence[Slot]) -> dict[str, tuple[Any, ...]]:
    return dict(
        student_channels=tuple(slot.source for slot in slots),
        teacher_channels=tuple(slot.target for slot in slots),
        student_size=tuple(slot.source_size for slot in slots),
        teacher_size=tuple(slot.target_size for slot in slots),
    )
