"""Plan of a comparison: the runs that a spec asks for, and the choice of weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.experiments.run import TrainingRun, set_length
from wkd_det.experiments.spec import Method, Preparation, Spec
from wkd_det.runtime.config import read_config


def final_runs(
    spec: Spec, factors: Mapping[str, float], *, tools: Path, threads: int | None = None
) -> list[tuple[Method, int, TrainingRun]]:
    """Return method, seed and run of the table, all methods of a seed before the next seed.

    Args:
        spec: The comparison.
        factors: Factors that the search chose, by method; 1 for the others.
        tools: Folder of the scripts that train and test.
        threads: Threads of each process; None leaves them as they are.
    """
    return [
        (
            method,
            seed,
            _run(
                spec,
                method,
                seed,
                spec.work_dir / 'runs' / method.name / f'seed_{seed}',
                f'{method.title}, seed {seed}',
                factor=factors.get(method.name, 1.0),
                length=spec.length,
                tools=tools,
                threads=threads,
            ),
        )
        for seed in spec.seeds
        for method in spec.methods
    ]


def search_runs(
    spec: Spec, *, tools: Path, threads: int | None = None
) -> list[tuple[Method, float, int, TrainingRun]]:
    """Return method, factor, seed and run of the search over weights; none without a search."""
    if spec.search is None:
        return []
    return [
        (
            method,
            factor,
            seed,
            _run(
                spec,
                method,
                seed,
                spec.work_dir / 'search' / method.name / f'x{factor:g}' / f'seed_{seed}',
                f'{method.title} x {factor:g}, search seed {seed}',
                factor=factor,
                length=spec.search.length or spec.length,
                tools=tools,
                threads=threads,
            ),
        )
        for seed in spec.search.seeds
        for method in spec.methods
        for factor in method.factors
    ]


def preparation_run(
    spec: Spec, entry: Preparation, *, tools: Path, threads: int | None = None
) -> TrainingRun:
    """Return the training that an entry of ``prepare`` names."""
    config = _load(entry.config, spec.overrides, entry.overrides)
    return TrainingRun(
        entry.name,
        config,
        Path(entry.work_dir),
        spec.metric,
        tools=tools,
        processes=spec.processes,
        threads=threads,
    )


def scaled_weights(spec: Spec, method: Method, factor: float) -> dict[str, float]:
    """Return the method's weights, each its value in the config times a factor.

    Raises:
        ValueError: If the config has no number there.
    """
    config = _load(method.config, spec.overrides, method.overrides)
    values = {}
    for key in method.weights:
        value = _lookup(config, key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(
                f'methods.{method.name}.weight must name a number in the config, got {value!r} '
                f'at {key}'
            )
        values[key] = value * factor
    return values


def best_factor(scores: Mapping[float, Sequence[float]]) -> float:
    """Return the factor of the highest mean; of equal ones the nearest to 1, then the smaller.

    A factor whose runs have failed has the score NaN and is never chosen.

    Raises:
        ValueError: If all have failed.
    """
    means = {factor: sum(values) / len(values) for factor, values in scores.items()}
    means = {factor: mean for factor, mean in means.items() if not math.isnan(mean)}
    if not means:
        raise ValueError(f'no factor to choose: the runs with {sorted(scores)} have all failed')
    return min(means, key=lambda factor: (-means[factor], abs(math.log(factor)), factor))


def _run(
    spec: Spec,
    method: Method,
    seed: int,
    folder: Path,
    title: str,
    *,
    factor: float,
    length: int | None,
    tools: Path,
    threads: int | None,
) -> TrainingRun:
    config = _load(method.config, spec.overrides, method.overrides)
    config.merge_from_dict(scaled_weights(spec, method, factor))
    if length is not None:
        set_length(config, length)
    config.randomness = dict(config.get('randomness') or {}, seed=seed)
    return TrainingRun(
        title,
        config,
        folder,
        spec.metric,
        tools=tools,
        processes=spec.processes,
        threads=threads,
    )


def _load(path: str, *overrides: Mapping[str, Any]) -> Config:
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
