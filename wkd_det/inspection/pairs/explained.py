"""Everything that is known of a pair before training, found in one go."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

from mmengine.config import Config

from wkd_det.inspection.pairs.bench import Bench, Trial, parameters_of
from wkd_det.inspection.pairs.data import Data, open_data
from wkd_det.inspection.pairs.inputs import InputRow, input_rows
from wkd_det.inspection.pairs.methods import Facts, Method, fitted
from wkd_det.inspection.pairs.names import Classes, compare_classes, unread_names
from wkd_det.inspection.pairs.pair import Pair
from wkd_det.inspection.pairs.places import PairPlaces, places_of
from wkd_det.inspection.pairs.rehearsal import rehearse
from wkd_det.inspection.pairs.written import config_text, loaded
from wkd_det.runtime.mistakes import sentence_of

CONFIGURED = 'configured'
"""Name of the terms that a distilled config has itself."""
FIRST_CHOICES = ('wkd-lf', 'wkd-f', 'wkd-f-fpn')
"""Methods that are chosen where none is named: the first that fits."""
_DETECTOR_SIDE = 256
_CLASSIFIER_SIDE = 224


@dataclass
class Cost:
    """Time, memory and parameters of student and teacher on this machine."""

    device: str
    parameters: tuple[int, int | None]
    teacher_bytes: int | None
    student_seconds: float | None = None
    teacher_seconds: float | None = None
    student_bytes: int | None = None
    problem: str | None = None
    """Why the student's own pass was not measured."""


@dataclass
class Explanation:
    """All that is known of a pair."""

    pair: Pair
    """With the rule of classes that it needs."""
    size: int
    count: int
    data: Data
    names: list[str] | None
    places: PairPlaces
    inputs: list[InputRow]
    cost: Cost
    classes: Classes | None = None
    has_weights: bool = False
    checkpoint_problem: str | None = None
    trials: list[Trial] = field(default_factory=list)
    chosen: Trial | None = None
    refusal: str | None = None
    """Why training ends before its first step; None if it does not."""

    @property
    def trains(self) -> bool:
        """Whether the chosen method trains."""
        return self.chosen is not None and self.refusal is None


def explain(
    pair: Pair,
    methods: Sequence[Method],
    *,
    method: str | None,
    folder: Path,
    size: int | None = None,
    count: int = 2,
    tell: Callable[[str], None] = lambda text: None,
) -> Explanation:
    """Find out what can be known of a pair before training.

    Args:
        pair: Student and teacher.
        methods: Methods of the pair's task.
        method: Name of the one to look at; None looks at all, and chooses.
        folder: For files that are made on the way.
        size: Side of the images in pixels; by default 256 for detectors, that of the training
            images, or 224, for classifiers.
        count: Number of images of the batch.
        tell: Called with what is done next.

    Raises:
        Exception: If student or teacher cannot be built, as training would raise it.
    """
    tell('opening the data')
    data = open_data(pair.config)
    detection = pair.is_detection
    names = data.names() or unread_names(pair.config, detection=detection)
    if size is None:
        size = _DETECTOR_SIDE if detection else data.side() or _CLASSIFIER_SIDE
    teacher_config = pair.teacher_config()
    teacher_names = None
    if teacher_config is not None:
        given = pair.teacher.get('class_names')
        teacher_names = given or unread_names(teacher_config, detection=detection)
    tell('building student and teacher')
    bench = Bench(
        pair, names=names, teacher_names=teacher_names, size=size, count=count, folder=folder
    )
    model, teacher = bench.model, bench.teacher
    module = None if teacher is None else teacher.module
    places = places_of(model, module, bench.teacher_config)
    found = Explanation(
        pair=pair,
        size=size,
        count=count,
        data=data,
        names=names,
        places=places,
        inputs=input_rows(model, module, model.network_of),
        cost=_cost(bench),
        has_weights=bench.has_weights,
        checkpoint_problem=bench.problem,
    )
    if teacher is not None:
        found.classes = compare_classes(
            model.num_classes_of(model),
            model.num_classes_of(module),
            names,
            teacher.class_names or (None if bench.has_weights else teacher_names),
            # A config that is distilled already is taken at its word.
            pair.teacher.get('classes', 'same' if pair.is_distilled else None),
        )
        if found.classes.rule != 'same' and not pair.is_distilled:
            found.pair = pair.with_teacher(classes=found.classes.rule)
            bench.set_rule(found.classes.rule)
    _try(found, bench, _candidates(found, methods, method), tell)
    _choose(found, method)
    if found.chosen is not None and found.refusal is None:
        tell('starting the training')
        _rehearse(found, folder)
    return found


def _candidates(found: Explanation, methods: Sequence[Method], name: str | None) -> list[Method]:
    """The methods to try, fitted to the pair; of a distilled config its own terms alone."""
    if found.pair.is_distilled:
        terms = Config(dict(distill=found.pair.configured)).to_dict()['distill']
        return [Method(CONFIGURED, 'the terms of the config', terms)]
    facts = _facts(found)
    return [fitted(one, facts) for one in methods if name in (None, one.name)]


def _facts(found: Explanation) -> Facts:
    config = found.pair.config
    training: dict[str, Any] = config.get('train_cfg') or {}
    kind = str(training.get('type', ''))
    by_epoch = 'IterBased' not in kind if kind else bool(training.get('by_epoch', True))
    length = training.get('max_epochs' if by_epoch else 'max_iters')
    stages, weights = (None, None), None
    teacher = found.pair.teacher_config()
    if found.pair.is_detection:
        from wkd_det.detection.heads import num_stages

        stages = (
            num_stages(config.model),
            None if teacher is None else num_stages(teacher.model),
        )
        weights = (config.model.get('roi_head') or {}).get('stage_loss_weights')
    return Facts(
        places=found.places,
        stages=stages,
        stage_weights=weights,
        samples=found.data.samples,
        by_epoch=by_epoch,
        length=length,
    )


def _try(
    found: Explanation, bench: Bench, methods: Sequence[Method], tell: Callable[[str], None]
) -> None:
    for method in methods:
        tell(f'trying {method.name}')
        adapt = method.name != CONFIGURED
        found.trials.append(bench.try_method(method, samples=found.data.samples, adapt=adapt))


def _choose(found: Explanation, name: str | None) -> None:
    """The method that is looked at further: the one that is named, or the first that fits."""
    trials = {trial.method.name: trial for trial in found.trials}
    if found.pair.is_distilled:
        name = CONFIGURED
    if name is not None:
        found.chosen = trials[name]
        found.refusal = found.chosen.refusal
        return
    if found.pair.teacher is None:
        return
    known = [trials[one] for one in FIRST_CHOICES if one in trials]
    found.chosen = next((one for one in [*known, *found.trials] if one.fits), None)
    if found.chosen is None:
        found.refusal = 'no method fits this pair'


def _rehearse(found: Explanation, folder: Path) -> None:
    """Start the training of the chosen method, and note why it ends before its first step."""
    try:
        config = training_config(found, folder)
        opened_otherwise = bool(found.chosen.method.dataset)
        rehearse(
            config,
            open_data(config) if opened_otherwise else found.data,
            names=found.names,
            count=1 if found.pair.is_detection else found.count,
            size=found.size,
            folder=folder / 'work',
        )
    except URLError as error:
        wanted = ', '.join(_pretrained(found.pair.config.model.to_dict())) or 'a file'
        found.refusal = f'{wanted} cannot be fetched from this machine: {error.reason}'
    except Exception as error:
        found.refusal = sentence_of(error)


def _pretrained(section: Any) -> list[str]:
    """Checkpoints that parts of a model begin with."""
    if isinstance(section, Mapping):
        own = section.get('checkpoint') if section.get('type') == 'Pretrained' else None
        parts = [one for value in section.values() for one in _pretrained(value)]
        return [own, *parts] if isinstance(own, str) else parts
    if isinstance(section, (list, tuple)):
        return [one for value in section for one in _pretrained(value)]
    return []


def training_config(found: Explanation, folder: Path) -> Config:
    """Return the config that trains the chosen method, with random weights where there are none.

    Args:
        found: With a chosen method.
        folder: Where files that are made on the way lie.
    """
    pair = found.pair
    if pair.is_distilled:
        config = copy.deepcopy(pair.config)
        config.model.teacher = pair.teacher
    else:
        out = folder / 'written.py'
        text = config_text(pair, found.chosen.method, out, size=found.size, command='explain')
        config = loaded(text, folder)
        if pair.teacher is not None:  # its paths as the user names them, for messages
            config.model.teacher.update(pair.teacher)
    if pair.teacher is not None and not pair.teacher.get('checkpoint'):
        config.model.teacher.checkpoint = str(folder / 'random.pth')
    return config


def _cost(bench: Bench) -> Cost:
    model, teacher = bench.model, bench.teacher
    device = 'the GPU' if bench.device.type == 'cuda' else 'the CPU'
    own, _ = parameters_of(model)
    other, size = (None, None) if teacher is None else parameters_of(teacher.module)
    cost = Cost(device, (own, other), size)
    try:
        cost.student_seconds = bench.student_seconds()
        cost.student_bytes = bench.student_memory()
        if teacher is not None:
            cost.teacher_seconds = bench.teacher_seconds()
    except Exception as error:
        cost.problem = sentence_of(error)
    return cost
