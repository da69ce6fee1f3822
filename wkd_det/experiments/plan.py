"""Plan of a study: the training behind each of its runs, with seed, length, overrides, factors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.experiments.lengths import set_length
from wkd_det.experiments.run import READING_CONFIGS, TrainingRun
from wkd_det.experiments.search import Point
from wkd_det.experiments.spec import Method, Preparation, Spec
from wkd_det.experiments.study import FINAL, Key, about, length_of
from wkd_det.ops.checks import is_number
from wkd_det.runtime.config import read_config


class Plan:
    """The trainings of a study.

    Args:
        spec: The study.
        tools: Folder of the scripts that train and test.
        threads: Threads of each process; None leaves them as they are.
        keep_checkpoints: Leave the checkpoints of finished runs.
    """

    def __init__(
        self, spec: Spec, *, tools: Path, threads: int | None = None, keep_checkpoints: bool = False
    ) -> None:
        self.spec = spec
        self.tools = tools
        self.threads = threads
        self.keep_checkpoints = keep_checkpoints
        self._runs: dict[Key, TrainingRun] = {}

    def run(self, key: Key) -> TrainingRun:
        """Return the training of a run; the same one at each call.

        Raises:
            ValueError: If a key that the search scales is no number in the config.
        """
        if key not in self._runs:
            self._runs[key] = self._made(key)
        return self._runs[key]

    def check(self) -> None:
        """Refuse keys of the search that are no numbers in the config of a method.

        Raises:
            ValueError: Naming method and key.
        """
        for method in self.spec.methods:
            config = load(method.config, self.spec.overrides, method.overrides)
            scaled(config, method, (1.0,) * len(method.stages))

    def preparation(self, entry: Preparation) -> TrainingRun:
        """Return the training that an entry of ``prepare`` names.

        Where its weights are kept for everybody its record lies with those of the study, else in
        its work folder, which other studies may share.
        """
        spec = self.spec
        record = None if entry.keep is None else spec.records / 'prepare' / f'{entry.name}.json'
        return TrainingRun(
            entry.name,
            load(entry.config, spec.overrides, entry.overrides),
            Path(entry.work_dir),
            None,  # a backbone for detectors may be trained as a classifier
            tools=self.tools,
            record=record,
            about=dict(
                study=spec.name,
                stage='prepare',
                method=entry.name,
                config=entry.config,
                overrides={**spec.overrides, **entry.overrides},
            ),
            curves=[spec.metric, *(column.key for column in spec.columns)],
            commits=() if record is None else spec.commits,
            processes=spec.processes,
            threads=self.threads,
        )

    def _made(self, key: Key) -> TrainingRun:
        spec, method = self.spec, self.spec.method(key.method)
        own = {} if key.stage == FINAL else spec.search.overrides
        config = load(method.config, spec.overrides, method.overrides, own)
        values = scaled(config, method, key.point)
        config.merge_from_dict(values)
        length = length_of(spec, key)
        if length is not None:
            set_length(config, length)
        config.randomness = dict(config.get('randomness') or {}, seed=key.seed)
        factors = ''.join(f' x {factor:g}' for factor in key.point) if key.stage != FINAL else ''
        stage = '' if key.stage == FINAL else f'{key.stage} '
        return TrainingRun(
            f'{method.title}{factors}, {stage}seed {key.seed}',
            config,
            spec.work_dir / key.name,
            spec.metric,
            tools=self.tools,
            record=spec.records / f'{key.name}.json',
            about=dict(about(spec, key), values=values),
            curves=[column.key for column in spec.columns],
            commits=spec.commits,
            may_fail=key.stage != FINAL,
            keep_checkpoints=self.keep_checkpoints,
            processes=spec.processes,
            threads=self.threads,
        )


def scaled(config: Config, method: Method, point: Point) -> dict[str, float]:
    """Return the values that a point gives to the keys of a method's stages.

    A key that stands in several stages is scaled by the factor of each.

    Raises:
        ValueError: If the config has no number there.
    """
    values: dict[str, float] = {}
    for stage, factor in zip(method.stages, point):
        for key in stage.keys:
            value = values.get(key, _lookup(config, key))
            if not is_number(value):
                raise ValueError(
                    f'methods.{method.name}: the search scales numbers in the config, got '
                    f'{value!r} at {key}'
                )
            values[key] = value * factor
    return values


def load(path: str, *overrides: Mapping[str, Any]) -> Config:
    """Return a config with overrides, the later ones over the earlier."""
    with READING_CONFIGS:
        config = copy.deepcopy(_read_once(path))
    for options in overrides:
        config.merge_from_dict(copy.deepcopy(dict(options)))
    return config


@cache
def _read_once(path: str) -> Config:
    return read_config(path)


def _lookup(config: Config, key: str) -> Any:
    value: Any = config.to_dict()
    for part in key.split('.'):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
