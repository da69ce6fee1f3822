"""Places that can be tapped in student and teacher, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from wkd_det.distillation.empty import empty_copy
from wkd_det.distillation.layouts import hints_of, layout_of
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.recording import INPUT, Recorded, recording

LEVEL_TAPS = dict(
    backbone='backbone',
    imitation='neck',
    instances='neck',
    memory='memory',
    neck='neck',
    pyramid='neck',
)
"""Taps of detectors that compare levels, with the place whose levels they are."""
_HEAD = 'roi_head.bbox_head'
_MODULES = 8  # rows of modules; the others are counted


@dataclass(frozen=True)
class Side:
    """A place in one network."""

    label: str
    """Level or module there."""
    width: int
    """Channels, or length of a vector."""
    stride: float | None = None
    size: tuple[int, int] | None = None
    """Height and width; None of vectors."""


@dataclass(frozen=True)
class PlaceRow:
    """A place by the name of its tap, in both networks."""

    tap: str
    student: Side | None
    teacher: Side | None


@dataclass(frozen=True)
class PairPlaces:
    """All places of a pair."""

    size: int
    """Side of the image that both networks were run on, without computing anything."""
    rows: list[PlaceRow]
    modules: list[PlaceRow]
    """Modules by name, coarse ones."""
    counts: tuple[int, int]
    """Number of modules that can be tapped by name, in student and teacher."""
    strides: tuple[list[float], list[float]]
    """Strides of the levels of ``pyramid``."""
    pyramid: str = 'neck'
    """Where the levels of a detector are compared: the neck, or the backbone where one of the two
    has no neck."""
    stopped: list[str] = field(default_factory=list)
    """Parts that an empty image does not reach, with the reason."""


def places_of(
    model: DistilledModel, teacher: nn.Module | None, teacher_config: Mapping[str, Any] | None
) -> PairPlaces:
    """Find the places of a pair by a dry run of both networks.

    Args:
        model: The distilled model.
        teacher: The teacher's model; None without one.
        teacher_config: Its model config.
    """
    if hasattr(model, 'dry_run'):
        return _of_detectors(model, teacher_config)
    return _of_classifiers(model, teacher)


def _of_detectors(model: DistilledModel, teacher_config: Mapping[str, Any] | None) -> PairPlaces:
    runs = [model.dry_run()]
    if teacher_config is not None:
        runs.append(model.dry_run(teacher_config))
    size = runs[0].image[-1]
    rows, strides = [], []
    for place in dict.fromkeys(place for run in runs for place in run.places):
        rows += _paired(place, [_levels(run, place) for run in runs])
    pyramid = 'neck' if all('neck' in run.places for run in runs) else 'backbone'
    for run in runs:
        levels = run.places.get(pyramid)
        strides.append([] if levels is None else list(levels.strides))
    heads = [_heads(run) for run in runs]
    for stage in range(max(map(len, heads))):
        sides = [_roi_sides(run, heads[i], stage) for i, run in enumerate(runs)]
        for tap in ('roi_feats', 'roi_logits', 'roi_offsets'):
            rows += _paired(tap, [{0: side[tap]} if tap in side else {} for side in sides])
    modules = [_module_sides(run.network, run.modules, run.image[-1]) for run in runs]
    stopped = [
        f'{owner}: {part}: {reason}'
        for owner, run in zip(('student', 'teacher'), runs)
        for part, reason in run.stopped.items()
    ]
    return replace(_places(size, rows, modules, strides), pyramid=pyramid, stopped=stopped)


def _of_classifiers(model: DistilledModel, teacher: nn.Module | None) -> PairPlaces:
    networks = [model.network_of(one) for one in (model, teacher) if one is not None]
    shapes = [_module_shapes(model, network) for network in networks]
    size, found = model.probe_size, []
    for owner, network, known in zip(('student', 'teacher'), networks, shapes):
        places = model.places_of(owner, network)
        sides: dict[str, Side] = {}
        for name in places.names():
            place = places.of(name)
            for index, module in enumerate([place] if isinstance(place, str) else place):
                label = name if isinstance(place, str) else f'{name}[{index}]'
                side = _side(module, network, known, size)
                if side is not None:
                    sides[label] = side
        if '' in known:
            sides['logits'] = Side('', known[''][-1])
        found.append(sides)
    rows = [
        PlaceRow(name, *_two([side.get(name) for side in found]))
        for name in dict.fromkeys(name for side in found for name in side)
    ]
    modules = [_module_sides(*each, size) for each in zip(networks, shapes)]
    return _places(size, rows, modules, [])


def _places(
    size: int,
    rows: list[PlaceRow],
    modules: Sequence[dict[str, Side]],
    strides: Sequence[list[float]],
) -> PairPlaces:
    coarse = dict.fromkeys(name for side in modules for name in _coarse(side))
    named = [PlaceRow(name, *_two([side.get(name) for side in modules])) for name in coarse]
    counts = _two([len(side) for side in modules])
    own, other = _two(list(strides))
    return PairPlaces(
        size=size,
        rows=rows,
        modules=named[:_MODULES],
        counts=(counts[0], counts[1] or 0),
        strides=(own or [], other or []),
    )


def _two(values: list[Any]) -> tuple[Any, Any]:
    """The values of student and teacher; None for a side that is not there."""
    own, other, *_ = [*values, None, None]
    return own, other


def _paired(tap: str, sides: Sequence[dict[Any, Side]]) -> list[PlaceRow]:
    """Rows of sides by their keys, e.g. strides; what has the same key shares a row."""
    keys = sorted({key for side in sides for key in side})
    return [PlaceRow(tap, *_two([side.get(key) for side in sides])) for key in keys]


def _levels(run: Any, place: str) -> dict[tuple[float, int], Side]:
    """Levels of a place by stride, and by their number among those of this stride."""
    levels = run.places.get(place)
    sides: dict[tuple[float, int], Side] = {}
    for index in range(0 if levels is None else len(levels.channels)):
        stride = levels.strides[index]
        key = (stride, sum(known[0] == stride for known in sides))
        sides[key] = Side(f'level {index}', levels.channels[index], stride, levels.sizes[index])
    return sides


def _heads(run: Any) -> list[str]:
    """Names of the box heads of a detector, one per stage."""
    roi_head = getattr(run.network, 'roi_head', None)
    heads = getattr(roi_head, 'bbox_head', None)
    if heads is None:
        return []
    stages = len(heads) if isinstance(heads, nn.ModuleList) else 0
    return [f'{_HEAD}.{index}' for index in range(stages)] if stages else [_HEAD]


def _roi_sides(run: Any, heads: Sequence[str], stage: int) -> dict[str, Side]:
    if stage >= len(heads):
        return {}
    name = heads[stage]
    label = f'stage {stage}' if len(heads) > 1 else 'on RoIs'
    sides = {}
    given = run.modules.get(f'{name}{INPUT}')
    if given is not None and len(given) == 4:
        sides['roi_feats'] = Side(label, given[1], None, tuple(given[2:]))
    for tap, part in (('roi_logits', 'fc_cls'), ('roi_offsets', 'fc_reg')):
        shape = run.modules.get(f'{name}.{part}')
        if shape is not None:
            sides[tap] = Side(label, shape[-1])
    return sides


def _module_shapes(model: DistilledModel, network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of what the modules of a classifier return, and with ``:input`` are given."""
    empty = empty_copy(network)
    names = ['', *(name for name, _ in empty.named_modules() if name)]
    names += [f'{name}{INPUT}' for name in names if name]
    recorded = Recorded()
    image = model.probe_image(empty)
    with torch.no_grad(), recording(empty, names, into=recorded), suppress(Exception):
        model.run_probe(empty, image)
    shapes = {}
    for name in names:
        with suppress(ValueError):
            shapes[name] = tuple(recorded[name].shape)
    return shapes


def _module_sides(
    network: nn.Module, shapes: Mapping[str, tuple[int, ...]], size: int
) -> dict[str, Side]:
    """Modules that can be tapped by their name."""
    names = [name for name in shapes if name and not name.endswith(INPUT)]
    sides = {name: _side(name, network, shapes, size) for name in names}
    return {name: side for name, side in sides.items() if side is not None}


def _side(
    module: str, network: nn.Module, shapes: Mapping[str, tuple[int, ...]], size: int
) -> Side | None:
    """The map that the output of a module stands for; None if it is no map, tokens or vector."""
    if module not in shapes:
        return None
    try:
        layout = layout_of(module, shapes[module], hints_of(network))
    except ValueError:
        return None
    if layout.kind == 'vector':
        return Side(module, layout.channels)
    stride = size / layout.height
    stride = int(stride) if stride.is_integer() else round(stride, 1)
    return Side(module, layout.channels, stride, (layout.height, layout.width))


def _coarse(names: Iterable[str]) -> list[str]:
    """Stages and the like: modules with parts, at most two names deep."""
    names = list(names)
    return [
        name
        for name in names
        if name.count('.') <= 1 and any(one.startswith(f'{name}.') for one in names)
    ]


def shortened(name: str, most: int) -> str:
    """Return a name, or its end where it is longer than ``most`` characters.

    >>> shortened('layer1.0.relu2:input', 14)
    '..relu2:input'
    """
    if len(name) <= most:
        return name
    end = name[2 - most :]
    return f'..{end.lstrip(".")}'
