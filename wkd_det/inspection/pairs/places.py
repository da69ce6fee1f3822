"""Places that can be tapped in student and teacher, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from wkd_det.distillation.layouts import hints_of, layout_of
from wkd_det.distillation.model import DistilledModel
from wkd_det.inspection.pairs.outputs import Outputs, outputs_of

_MODULES = 10  # named rows of modules; the others are counted


@dataclass(frozen=True)
class Side:
    """A place in one network."""

    label: str
    """Level or module there."""
    width: int
    """Channels, or length of a vector."""
    stride: int | None = None
    size: tuple[int, int] | None = None
    """Height and width; None of vectors."""


@dataclass(frozen=True)
class PlaceRow:
    """A place by the name of its tap, in both networks."""

    tap: str
    student: Side | None
    teacher: Side | None


@dataclass(frozen=True)
class Places:
    """All places of a pair."""

    size: int
    """Side of the image that both networks were run on, without computing anything."""
    rows: list[PlaceRow]
    modules: list[PlaceRow]
    """Modules by name, coarse ones."""
    counts: tuple[int, int]
    """Number of modules that can be tapped by name, in student and teacher."""
    strides: tuple[list[int] | None, list[int] | None]
    """Strides of the levels of the neck, or of the backbone where there is no neck."""


def places_of(model: DistilledModel, teacher: nn.Module | None, size: int) -> Places:
    """Find the places of a pair.

    Args:
        model: The distilled model.
        teacher: The teacher's model; None without one.
        size: Side of the image in pixels; a multiple of the largest stride.
    """
    networks = [model.network_of(model), None if teacher is None else model.network_of(teacher)]
    own, other = (None if one is None else outputs_of(model, one, size) for one in networks)
    detection = hasattr(model, 'backbone')
    rows = _of_detectors(own, other) if detection else _of_classifiers(model, networks, own, other)
    modules, counts = _modules(networks, own, other)
    return Places(size, rows, modules, counts, tuple(_strides(one) for one in (own, other)))


def _strides(outputs: Outputs | None) -> list[int] | None:
    if outputs is None:
        return None
    maps = outputs.maps('neck') or outputs.maps('backbone')
    strides = [outputs.stride(shape[1]) for shape in maps]
    return strides if strides and None not in strides else None


def _of_detectors(own: Outputs, other: Outputs | None) -> list[PlaceRow]:
    rows = []
    for place in ('backbone', 'neck'):
        rows += _levels(place, own, other)
    stages = max(len(_heads(one)) for one in (own, other) if one is not None)
    for stage in range(stages):
        sides = [_roi_sides(one, stage) if one is not None else {} for one in (own, other)]
        rows += [
            PlaceRow(tap, sides[0].get(tap), sides[1].get(tap))
            for tap in ('roi_feats', 'roi_logits', 'roi_offsets')
            if any(tap in side for side in sides)
        ]
    return rows


def _levels(place: str, own: Outputs, other: Outputs | None) -> list[PlaceRow]:
    """Rows of the levels of the backbone or the neck; levels of one stride share a row."""
    sides = [_level_sides(place, one) for one in (own, other)]
    strides = sorted({stride for side in sides for stride in side})
    return [PlaceRow(place, sides[0].get(one), sides[1].get(one)) for one in strides]


def _level_sides(place: str, outputs: Outputs | None) -> dict[int, Side]:
    found = {}
    for level, (width, *size) in enumerate(outputs.maps(place) if outputs else ()):
        stride = outputs.stride(size[0])
        key = outputs.size // max(size[0], 1)
        while key in found:  # two levels of one stride
            key += 1
        found[key] = Side(f'level {level}', width, stride, tuple(size))
    return found


def _heads(outputs: Outputs) -> list[str]:
    """Names of the box heads of a detector's stages."""
    head = 'roi_head.bbox_head'
    if head in outputs.shapes:
        return [head]
    stages = sorted(name for name in outputs.shapes if name.rpartition('.')[0] == head)
    return [name for name in stages if name.rpartition('.')[2].isdigit()]


def _roi_sides(outputs: Outputs, stage: int) -> dict[str, Side]:
    heads = _heads(outputs)
    if stage >= len(heads):
        return {}
    label = f'stage {stage}' if len(heads) > 1 else 'RoIs'
    sides = {}
    vectors = [shape for shape in outputs.shapes[heads[stage]] if len(shape) == 2]
    for tap, shape in zip(('roi_logits', 'roi_offsets'), vectors):
        sides[tap] = Side(label, shape[1])
    given = outputs.inputs.get(heads[stage])
    if given is not None and len(given) == 4:
        sides['roi_feats'] = Side(label, given[1], None, given[2:])
    return sides


def _of_classifiers(
    model: DistilledModel, networks: Sequence[nn.Module | None], own: Outputs, other: Outputs | None
) -> list[PlaceRow]:
    names: dict[str, None] = {}
    found: list[dict[str, Side]] = []
    for owner, network, outputs in zip(('student', 'teacher'), networks, (own, other)):
        sides: dict[str, Side] = {}
        if network is not None:
            places = model.places_of(owner, network)
            for name in places.names():
                sides.update(_place_sides(name, places.of(name), network, outputs))
            logits = outputs.shapes.get('')
            if logits:
                sides['logits'] = Side('', logits[0][-1])
        names.update(dict.fromkeys(sides))
        found.append(sides)
    return [PlaceRow(name, found[0].get(name), found[1].get(name)) for name in names]


def _place_sides(name: str, place: Any, network: nn.Module, outputs: Outputs) -> dict[str, Side]:
    modules = [place] if isinstance(place, str) else list(place)
    sides = {}
    for index, module in enumerate(modules):
        side = _module_side(module, network, outputs)
        if side is not None:
            sides[name if isinstance(place, str) else f'{name}[{index}]'] = side
    return sides


def _module_side(module: str, network: nn.Module, outputs: Outputs) -> Side | None:
    """The map that the output of a module stands for; None if it is no map, tokens or vector."""
    shape = outputs.shape_at(module)
    if shape is None:
        return None
    try:
        layout = layout_of(module, shape, hints_of(network))
    except ValueError:
        return None
    if layout.kind == 'vector':
        return Side(module, layout.channels)
    return Side(
        module, layout.channels, outputs.stride(layout.height), (layout.height, layout.width)
    )


def _modules(
    networks: Sequence[nn.Module | None], own: Outputs, other: Outputs | None
) -> tuple[list[PlaceRow], tuple[int, int]]:
    """Rows of the coarse modules that can be tapped by name, and how many there are of all."""
    sides: list[dict[str, Side]] = []
    for network, outputs in zip(networks, (own, other)):
        found = {}
        for name in () if network is None else outputs.tappable():
            side = _module_side(name, network, outputs)
            if side is not None:
                found[name] = side
        sides.append(found)
    coarse = dict.fromkeys(name for side in sides for name in _coarse(side))
    rows = [PlaceRow(name, sides[0].get(name), sides[1].get(name)) for name in coarse]
    return rows[:_MODULES], (len(sides[0]), len(sides[1]))


def _coarse(names: Iterable[str]) -> list[str]:
    """Stages and the like: modules with parts, at most two names deep."""
    names = list(names)
    return [
        name
        for name in names
        if name.count('.') <= 1 and any(one.startswith(f'{name}.') for one in names)
    ]
