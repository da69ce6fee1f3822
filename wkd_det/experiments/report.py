"""Report of a comparison: means and paired differences over seeds, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from wkd_det.experiments.plan import best_factor, scaled_weights
from wkd_det.experiments.spec import Spec

Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Results of runs by method and seed."""

CONFIDENCE = 0.95
_RESAMPLES = 9999


@dataclass(frozen=True)
class Mean:
    """Mean over seeds and its standard error (NaN for one seed)."""

    value: float
    error: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean difference over the seeds that both have, with a bootstrap interval."""

    value: float
    low: float
    high: float
    count: int
    ahead: int
    """Seeds on which the difference is above 0."""


def mean_of(values: Sequence[float]) -> Mean:
    """Return mean and standard error (sample deviation over the root of the count).

    Raises:
        ValueError: If there are no values.
    """
    if len(values) == 0:
        raise ValueError('values must not be empty')
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Mean(float(np.mean(values)), error, count)


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """Return how far ``values`` are above ``reference``, seed by seed.

    The interval is the percentile bootstrap of the mean over paired seeds, from a fixed random
    state: the same values give the same interval. For one seed there is none (NaN).

    Args:
        values: Values of one method by seed.
        reference: Values of the other method by seed.

    Returns:
        None if they share no seed.
    """
    shared = sorted(set(values) & set(reference))
    if not shared:
        return None
    gaps = np.array([values[seed] - reference[seed] for seed in shared])
    low = high = math.nan
    if len(gaps) > 1:
        interval = bootstrap(
            (gaps,),
            np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=_RESAMPLES,
            method='percentile',
            random_state=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Difference(float(gaps.mean()), low, high, len(gaps), int((gaps > 0).sum()))


@dataclass(frozen=True)
class Row:
    """One method of the table."""

    name: str
    title: str
    mean: Mean
    differences: Mapping[str, Difference | None]
    """Difference to each reference by its name; None to itself."""
    seconds: float
    """Duration of a step in seconds, median over seeds."""
    extra_memory: float
    """MiB above the first reference, medians over seeds; NaN without one."""


def summarise(spec: Spec, results: Results) -> list[Row]:
    """Return the rows of the methods that have results, in the order of the spec."""
    rows = []
    values = {
        name: {seed: result['metrics'][spec.metric] for seed, result in of_seed.items()}
        for name, of_seed in results.items()
    }
    base = _memory(results.get(spec.references[0], {})) if spec.references else math.nan
    for method in spec.methods:
        own = values.get(method.name)
        if not own:
            continue
        rows.append(
            Row(
                name=method.name,
                title=method.title,
                mean=mean_of(list(own.values())),
                differences={
                    reference: None
                    if reference == method.name
                    else paired_difference(own, values.get(reference, {}))
                    for reference in spec.references
                },
                seconds=statistics.median(
                    result['seconds_per_step'] for result in results[method.name].values()
                ),
                extra_memory=_memory(results[method.name]) - base,
            )
        )
    return rows


def markdown_table(spec: Spec, rows: Sequence[Row]) -> str:
    """Return the table; a difference has its 95 % interval and the seeds on which it is above 0."""
    references = [spec.method(name).title for name in spec.references]
    head = ['method', 'seeds', spec.metric]
    head += [f'minus {title} [95 %]' for title in references]
    head += ['s / step', 'extra memory (MiB)']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for row in rows:
        cells = [row.title, str(row.mean.count), _mean(row.mean)]
        cells += [_difference(row.differences[name]) for name in spec.references]
        cells += [f'{row.seconds:.3f}', _number(row.extra_memory, '+.0f')]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def markdown_search(spec: Spec, scores: Mapping[str, Mapping[float, Sequence[float]]]) -> str:
    """Return the means by method and factor, the chosen one bold; see :func:`best_factor`."""
    lines = ['| method | weights at factor 1 | factor: mean |', '|---|---|---|']
    for method in spec.methods:
        if not method.factors or method.name not in scores:
            lines.append(f'| {method.title} | nothing to tune | |')
            continue
        chosen = best_factor(scores[method.name])
        cells = []
        for factor, values in scores[method.name].items():
            mean = sum(values) / len(values)
            text = f'{factor:g}: {"failed" if math.isnan(mean) else f"{mean:.4f}"}'
            cells.append(f'**{text}**' if factor == chosen else text)
        weights = scaled_weights(spec, method, 1.0)
        named = ', '.join(f'`{key}` {value:g}' for key, value in weights.items())
        lines.append(f'| {method.title} | {named} | {", ".join(cells)} |')
    return '\n'.join(lines)


def csv_text(spec: Spec, runs: Sequence[tuple[str, str, float, int, Mapping[str, Any]]]) -> str:
    """Return a table with one line per run.

    Args:
        spec: The comparison.
        runs: Stage (``'final'`` or ``'search'``), method, factor of its weights, seed and result.
    """
    metrics = sorted({key for *_, result in runs for key in result['metrics']})
    metrics.sort(key=lambda key: key != spec.metric)  # the metric of the comparison comes first
    output = io.StringIO()
    writer = csv.writer(output, lineterminator='\n')
    writer.writerow(
        ['stage', 'method', 'factor', 'seed', *metrics]
        + ['seconds_per_step', 'peak_memory_mib', 'memory_of', 'starts', 'fingerprint']
    )
    for stage, method, factor, seed, result in runs:
        writer.writerow(
            [stage, method, f'{factor:g}', seed]
            + [result['metrics'].get(key, '') for key in metrics]
            + [f'{result["seconds_per_step"]:.4f}']
            + ['' if result['peak_memory'] is None else f'{result["peak_memory"]:.1f}']
            + [result['memory_of'], result['starts'], result['fingerprint']]
        )
    return output.getvalue()


def _memory(results: Mapping[int, Mapping[str, Any]]) -> float:
    peaks = [result['peak_memory'] for result in results.values()]
    peaks = [peak for peak in peaks if peak is not None]
    return statistics.median(peaks) if peaks else math.nan


def _mean(mean: Mean) -> str:
    return f'{mean.value:.4f}' + ('' if math.isnan(mean.error) else f' ± {mean.error:.4f}')


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ''
    text = f'{difference.value:+.4f}'
    if not math.isnan(difference.low):
        text += f' [{difference.low:+.4f}, {difference.high:+.4f}]'
    return f'{text}, {difference.ahead}/{difference.count} ahead'


def _number(value: float, form: str) -> str:
    return '' if math.isnan(value) else format(value, form)
