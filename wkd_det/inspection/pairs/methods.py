"""Methods of the configs, fitted to a pair: levels, stages, connectors, sizes and hooks.

A file of ``configs/_base_/distill`` is written for a pyramid from P2 on and for one stage. What
follows from another pair is changed here before the method is tried; whether it fits then is
said by the code that trains it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.inspection.pairs.places import LEVEL_TAPS, PairPlaces

_ALL_STAGES = ('roi_logits', 'roi_offsets', 'roi_boxes', 'crossed_logits', 'crossed_offsets')
_FIRST_STRIDE = 4  # of P2, where the levels of the files begin
_WARM_UP_PART = 12  # 20 of 240 epochs, as the files have it


@dataclass(frozen=True)
class Method:
    """A method: what a config of it sets beyond the plain student's."""

    name: str
    title: str
    """Name and description, in one line."""
    distill: dict[str, Any]
    student: dict[str, Any] = field(default_factory=dict)
    """Options of the student's model, e.g. a smaller weight of the cross entropy."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Options of the training data set."""
    hooks: list[dict[str, Any]] = field(default_factory=list)
    changes: tuple[str, ...] = ()
    """Options that were changed for the pair, in words."""

    @classmethod
    def of(cls, name: str, title: str, path: Path) -> Method:
        """Read the file of a method."""
        config = Config.fromfile(path).to_dict()
        return cls(
            name=name,
            title=title,
            distill=config['distill'],
            student=config.get('student', {}),
            dataset=config.get('train_dataset', {}),
            hooks=config.get('custom_hooks', []),
        )

    def changed(self, distill: Mapping[str, Any], *changes: str) -> Method:
        """Return the method with another section ``distill``."""
        return replace(self, distill=dict(distill), changes=(*self.changes, *changes))


@dataclass(frozen=True)
class Facts:
    """Facts of a pair that decide on options of a method."""

    places: PairPlaces
    stages: tuple[int | None, int | None] = (None, None)
    """Stages of the RoI heads of student and teacher; None for heads without."""
    stage_weights: Sequence[float] | None = None
    """Weights of the losses of the student's stages."""
    samples: int | None = None
    """Number of training images, where the data are there."""
    by_epoch: bool = True
    """Whether training counts epochs."""
    length: int | None = None
    """Epochs or iterations of training."""


def fitted(method: Method, facts: Facts) -> Method:
    """Return a method with the options that follow from a pair.

    - The backbone stands for the neck where one of the two has no neck.
    - ``levels`` and ``teacher_levels`` name levels of equal strides: those that the file means, or
      as many of those that both networks have.
    - ``stage``, ``stage_weights`` and ``teacher_stage`` of cascades: all stages of the student for
      outputs of the head, the first one for features.
    - Widths of ICD's decoder and ReviewKD's fused maps are not above the teacher's.
    - ``num_samples`` is the number of training images; warm-ups keep their part of the training.

    Args:
        method: As its file has it.
        facts: The pair.
    """
    distill = copy.deepcopy(method.distill)
    changes: list[str] = []
    for name, term in distill.items():
        for change in (_place, _levels, _stages, _widths, _samples):
            changes += [f'{name}: {text}' for text in change(term, facts)]
    hooks = [_hook(one, facts) for one in method.hooks]
    return replace(method.changed(distill, *changes), hooks=hooks)


def num_samples(distill: Mapping[str, Any]) -> int | None:
    """Return how many training images a section ``distill`` counts on; None if it does not."""
    counts = [term['loss'].get('num_samples') for term in distill.values()]
    return next((count for count in counts if count), None)


def remedies(method: Method, message: str) -> Iterator[Method]:
    """Yield the method with one more change each that a refusal may ask for.

    Args:
        method: The method that was refused.
        message: The refusal; where it names a term only that one is changed.
    """
    named = [name for name in method.distill if f'distill.{name}' in message]
    for text, change in _REMEDIES:
        distill = copy.deepcopy(method.distill)
        changed = [name for name in named or distill if change(distill[name])]
        if changed:
            yield method.changed(distill, *(f'{name}: {text}' for name in changed))


def _place(term: dict[str, Any], facts: Facts) -> Iterator[str]:
    if term.get('tap') == 'neck' and facts.places.pyramid == 'backbone':
        term['tap'] = 'backbone'
        yield 'tap=backbone'


def _levels(term: dict[str, Any], facts: Facts) -> Iterator[str]:
    own, other = facts.places.strides
    if term.get('tap') not in LEVEL_TAPS or not own or not other:
        return
    shared = [stride for stride in own if stride in other]
    given = term.get('levels')
    if not shared or (given is None and own == other):
        return
    if given is None:
        wanted = shared
    elif given[0] == 0:
        wanted = shared[: len(given)]
    else:
        meant = [_FIRST_STRIDE * 2**level for level in given]
        wanted = [stride for stride in meant if stride in shared] or shared[:1]
    levels = [own.index(stride) for stride in wanted]
    teacher_levels = [other.index(stride) for stride in wanted]
    if levels == given and levels == teacher_levels:
        return
    term['levels'] = levels
    text = f'levels={levels}'
    if teacher_levels != levels:
        term['teacher_levels'] = teacher_levels
        text += f', teacher_levels={teacher_levels}'
    yield text


def _stages(term: dict[str, Any], facts: Facts) -> Iterator[str]:
    own, other = facts.stages
    tap = term.get('tap')
    if tap not in (*_ALL_STAGES, 'roi_feats'):
        return
    if own is not None:
        whole = tap != 'roi_feats'
        term['stage'] = list(range(own)) if whole else 0
        yield f'stage={term["stage"]}'
        if whole and facts.stage_weights is not None:
            term['stage_weights'] = list(facts.stage_weights)
            yield f'stage_weights={term["stage_weights"]}'
    if other is not None and own != other:
        last = other - 1
        stage = term.get('stage', 0)
        chosen = [min(one, last) for one in stage] if isinstance(stage, list) else 0
        term['teacher_stage'] = chosen
        yield f'teacher_stage={chosen}'


def _widths(term: dict[str, Any], facts: Facts) -> Iterator[str]:
    widths = [row.teacher.width for row in facts.places.rows if row.tap == 'neck' and row.teacher]
    if not widths:
        return
    width, loss, connector = max(widths), term['loss'], term.get('connector')
    if loss.get('type') == 'ICDLoss' and loss.get('width', width) != width:
        heads = next(count for count in (8, 4, 2, 1) if width % (8 * count) == 0 or count == 1)
        loss.update(width=width, num_heads=heads)
        yield f'width={width}, num_heads={heads}'
    fuses = isinstance(connector, dict) and connector.get('type') == 'ABFConnector'
    if fuses and connector.get('mid_channels', width) > width:
        connector['mid_channels'] = width
        yield f'mid_channels={width}'


def _samples(term: dict[str, Any], facts: Facts) -> Iterator[str]:
    loss = term['loss']
    if 'num_samples' not in loss or facts.samples in (None, loss['num_samples']):
        return
    loss['num_samples'] = facts.samples
    yield f'num_samples={facts.samples}'
    if loss.get('negatives', 0) > facts.samples // 2:
        loss['negatives'] = max(facts.samples // 2, 1)
        yield f'negatives={loss["negatives"]}'


def _hook(hook: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """A hook whose warm-up is as long a part of this training as of the published one."""
    hook = dict(hook)
    warm_up, length = hook.get('warm_up'), facts.length
    if hook.get('type') != 'TermScheduleHook' or not warm_up or length is None:
        return hook
    if hook.get('by_epoch', True):
        # Epochs count from 1, so a warm-up of one is none: two have half the weight in the first.
        hook['warm_up'] = min(warm_up, max(2, round(length / _WARM_UP_PART)))
        if not facts.by_epoch:
            hook.update(by_epoch=False, warm_up=max(1, round(length / _WARM_UP_PART)))
    elif not facts.by_epoch:
        hook['warm_up'] = min(warm_up, max(1, length // 10))
    return hook


def _with_connector(term: dict[str, Any]) -> bool:
    if 'connector' in term or 'logits' in str(term.get('tap')):
        return False
    term['connector'] = dict(type='ConvConnector', kernel_size=1, norm_cfg=None)
    return True


def _with_resize(term: dict[str, Any]) -> bool:
    connector = term.get('connector')
    if isinstance(connector, str) or 'logits' in str(term.get('tap')):
        return False
    if connector is None or connector.get('type') not in ('ConvConnector', 'ABFConnector'):
        term['connector'] = dict(type='ConvConnector', kernel_size=1, norm_cfg=None, resize=True)
        return True
    if connector.get('resize'):
        return False
    connector['resize'] = True
    return True


def _of_any_size(term: dict[str, Any]) -> bool:
    if term.get('same_size') is False or term.get('tap') in LEVEL_TAPS:
        return False
    term['same_size'] = False
    return True


_REMEDIES = (
    ('1 x 1 connector', _with_connector),
    ('connector with resize=True', _with_resize),
    ('same_size=False', _of_any_size),
)
