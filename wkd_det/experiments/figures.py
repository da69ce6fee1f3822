"""Figures of a study: learning curves, forest plot, gain over length, calibration, mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from wkd_det.experiments.hypotheses import best_rival
from wkd_det.experiments.spec import Method, Spec
from wkd_det.experiments.statistics import Difference, paired_difference
from wkd_det.experiments.study import Results, Study, values_ending, values_of
from wkd_det.experiments.tables import Row

_LEAST_SHARE = 0.005  # of all images, in a bin of a calibration curve
_BETTER, _WORSE, _UNDECIDED = (
    'tab:blue',
    'tab:orange',
    'gray',
)  # the colour-blind see the difference


def learning_curves(spec: Spec, results: Results, output: Path) -> None:
    """Draw the mean over seeds of each method with a band of one standard deviation.

    The curves show the validation metric if all runs were validated along the way; otherwise the
    task loss (without the distillation terms, which differ from method to method).
    """
    records = [record for runs in results.values() for record in runs.values()]
    along = all(len(record['curve'][spec.metric]) > 1 for record in records)
    figure = Figure(figsize=(8, 5), layout='constrained')
    axis = figure.subplots()
    shown = [method for method in spec.methods if results.get(method.name)]
    for method, style in zip(shown, _styles(len(shown))):
        runs = results[method.name].values()
        curves = [record['curve'][spec.metric] if along else record['losses'] for record in runs]
        steps, mean, deviation = band(curves)
        axis.plot(steps, mean, label=method.title, **style)
        low, high = mean - deviation, mean + deviation
        axis.fill_between(steps, low, high, color=style['color'], alpha=0.15, linewidth=0)
    axis.set_xlabel('length of training' if along else 'step')
    axis.set_ylabel(spec.column.title if along else 'task loss')
    if not along and any(len(line.get_xdata()) for line in axis.lines):  # else nothing to scale
        axis.set_yscale('log')
    axis.grid(alpha=0.3, which='both')
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axis.set_title(f'{spec.title}: mean and standard deviation over seeds', fontsize=10)
    _save(figure, output)


def forest_plot(spec: Spec, rows: Sequence[Row], output: Path) -> None:
    """Draw paired differences to each reference with their t intervals, one line per method."""
    references = spec.references
    shown = [row for row in rows if any(row.differences.values())]
    height = 1.4 + 0.3 * max(len(shown), 1)
    figure = Figure(figsize=(2.6 + 3.4 * len(references), height), layout='constrained')
    axes = figure.subplots(1, len(references), squeeze=False, sharey=True)[0]
    places = np.arange(len(shown))[::-1]
    for axis, reference in zip(axes, references):
        axis.axvline(0, color='gray', linewidth=1)
        for place, row in zip(places, shown):
            difference = row.differences[reference]
            if difference is None:
                continue
            color = _UNDECIDED
            if difference.low > 0 or difference.high < 0:
                color = _BETTER if difference.value > 0 else _WORSE
            if not math.isnan(difference.low):
                axis.plot([difference.low, difference.high], [place] * 2, color=color, lw=2)
            filled = color if difference.count > 1 else 'none'
            axis.plot(difference.value, place, 'o', color=color, mfc=filled, markersize=5)
        titles = [row.title + (' *' if row.exploratory else '') for row in shown]
        axis.set_yticks(places, titles, fontsize=8)
        axis.set_ylim(-0.7, len(shown) - 0.3)
        axis.set_title(f'minus {spec.method(reference).title}', fontsize=10)
        axis.set_xlabel(spec.column.title, fontsize=8)
        axis.tick_params(axis='x', labelsize=8)
        axis.grid(axis='x', alpha=0.3)
    counts = sorted({row.means[spec.metric].count for row in shown})
    seeds = f'{counts[0]} to {counts[-1]}' if len(counts) > 1 else str(counts[0])
    figure.suptitle(f'{spec.title}\npaired over {seeds} seeds, 95 % t intervals', fontsize=9)
    _save(figure, output)


def gain_over_length(studies: Sequence[Study], output: Path) -> None:
    """Draw what each method gains over the first reference, by the length of the study.

    Args:
        studies: The first one names methods, reference and metric; the others those of them that
            they have.
        output: File of the figure. Without a method that has been run at two lengths there is none.
    """
    main = studies[0].spec
    ordered = sorted(studies, key=lambda study: study.spec.length or 0)
    if len({study.spec.length for study in ordered}) < 2 or not main.references:
        return
    base = main.references[0]
    found = [(study.spec.length, study.results()) for study in ordered]

    def gain(method: Method, results: Results) -> Difference | None:
        own, other = (values_of(results, name, main.metric) for name in (method.name, base))
        return paired_difference(own, other)

    drawn = []
    for method in main.methods:
        gains = [(length, gain(method, results)) for length, results in found]
        gains = [(length, one) for length, one in gains if one is not None]
        if len(gains) > 1 and method.name != base:
            drawn.append((method, gains))
    if not drawn:
        return
    figure = Figure(figsize=(7.5, 4.5), layout='constrained')
    axis = figure.subplots()
    axis.axhline(0, color='gray', linewidth=1)
    for index, ((method, gains), style) in enumerate(zip(drawn, _styles(len(drawn)))):
        # Beside each other, so that the intervals can be told apart.
        shift = 1.02 ** (index - (len(drawn) - 1) / 2)
        lengths = [length * shift for length, _ in gains]
        means = [difference.value for _, difference in gains]
        lows = [value - _finite(one.low, value) for value, (_, one) in zip(means, gains)]
        highs = [_finite(one.high, value) - value for value, (_, one) in zip(means, gains)]
        axis.errorbar(
            lengths,
            means,
            yerr=[lows, highs],
            marker='o',
            ms=4,
            capsize=2,
            label=method.title,
            **style,
        )
    axis.set_xscale('log')
    lengths = sorted({study.spec.length for study in ordered if study.spec.length})
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.minorticks_off()
    axis.set_xlabel('length of training')
    axis.set_ylabel(f'{main.column.title} minus {main.method(base).title}')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axis.set_title(f'{main.title}: gain over length, 95 % t intervals', fontsize=10)
    _save(figure, output)


def calibration_curves(spec: Spec, results: Results, output: Path) -> None:
    """Draw by how much the share of right answers misses the confidence, all seeds together.

    It draws the result whose name ends with ``/calibration``: ``count``, ``confidence`` and
    ``accuracy`` of each bin. Bins with less than one in 200 images are left out of the curves.
    Without such a result there is no figure.

    The error next to a name is the mean over seeds, as in the table: that of all seeds together is
    smaller, as what one misses upwards makes up for what another misses downwards.
    """
    found = _ending(results, 'calibration')
    if not found:
        return
    figure = Figure(figsize=(8, 5), layout='constrained')
    axis = figure.subplots()
    axis.axhline(0, color='gray', linewidth=1)
    shown = [method for method in spec.methods if method.name in found]
    for method, style in zip(shown, _styles(len(shown))):
        count, confidence, accuracy = pooled_bins(found[method.name])
        error = np.mean([calibration_error(run) for run in found[method.name]])
        filled = count >= _LEAST_SHARE * count.sum()
        label = f'{method.title} (ECE {100 * error:.1f} %)'
        axis.plot(
            confidence[filled],
            (accuracy - confidence)[filled],
            marker='o',
            ms=3,
            label=label,
            **style,
        )
    axis.set_xlabel('confidence')
    axis.set_ylabel('share of right answers minus confidence')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axis.set_title(f'{spec.title}: calibration; below 0 a method is too sure', fontsize=10)
    _save(figure, output)


def pooled_bins(runs: Sequence[Mapping[str, Sequence[float]]]) -> tuple[np.ndarray, ...]:
    """Return count, mean confidence and accuracy of the bins of all runs together.

    Args:
        runs: ``count``, ``confidence`` and ``accuracy`` of each bin, by run. What an empty bin
            says is not used; a bin that is empty in all runs is left out.
    """
    stacked = np.array(
        [[run['count'], run['confidence'], run['accuracy']] for run in runs], dtype=float
    )
    counts = stacked[:, 0]
    total = counts.sum(axis=0)
    filled = total > 0
    sums = [(np.where(counts > 0, stacked[:, row], 0) * counts).sum(axis=0) for row in (1, 2)]
    return total[filled], sums[0][filled] / total[filled], sums[1][filled] / total[filled]


def calibration_error(run: Mapping[str, Sequence[float]]) -> float:
    """Return the expected calibration error of a run, from its bins as in :func:`pooled_bins`."""
    count, confidence, accuracy = pooled_bins([run])
    return float(np.abs(confidence - accuracy) @ count / count.sum())


def kinds_of_mistakes(spec: Spec, results: Results, output: Path) -> None:
    """Draw how many mistakes of each kind a method makes, mean over seeds.

    It draws the result whose name ends with ``/mistakes``: a number by kind. Without one there is
    no figure.
    """
    found = _ending(results, 'mistakes')
    if not found:
        return
    shown = [method for method in spec.methods if method.name in found]
    kinds = list(dict.fromkeys(kind for runs in found.values() for one in runs for kind in one))
    figure = Figure(figsize=(8, 1.4 + 0.3 * len(shown)), layout='constrained')
    axis = figure.subplots()
    places = np.arange(len(shown))[::-1]
    left = np.zeros(len(shown))
    for kind, color in zip(kinds, _colors(len(kinds))):
        means = np.array(
            [np.mean([one.get(kind, 0) for one in found[method.name]]) for method in shown]
        )
        axis.barh(places, means, left=left, color=color, label=kind, height=0.7)
        for place, begin, width in zip(places, left, means):
            if width > 0.06 * (left + means).max():
                axis.text(
                    begin + width / 2,
                    place,
                    f'{width:.0f}',
                    ha='center',
                    va='center',
                    fontsize=7,
                    color='white',
                )
        left = left + means
    axis.set_yticks(places, [method.title for method in shown], fontsize=8)
    axis.set_xlabel('mistakes, mean over seeds')
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axis.set_title(f'{spec.title}: mistakes by kind', fontsize=10)
    _save(figure, output)


def confusions(study: Study, results: Results, output: Path) -> None:
    """Draw which classes one method confuses more or less often than another.

    It draws the result whose name ends with ``/confusion``, a square table of counts (rows: true
    classes), with the names in ``/confusion_names``: the mean over seeds of the method of the
    first hypothesis minus that of its rival; without hypotheses of the last method minus the
    first reference. Without the tables of both there is no figure.
    """
    spec, found = study.spec, _ending(results, 'confusion')
    pair = _compared_pair(study, found)
    if pair is None:
        return
    means = [
        np.mean([np.array(one, dtype=float) for one in found[one.name]], axis=0) for one in pair
    ]
    gap = means[0] - means[1]
    np.fill_diagonal(gap, 0)  # mistakes alone
    names = next(iter(_ending(results, 'confusion_names').values()), [range(len(gap))])[0]
    limit = np.abs(gap).max() or 1.0
    figure = Figure(figsize=(8, 7), layout='constrained')
    axis = figure.subplots()
    image = axis.imshow(gap, cmap='RdBu_r', vmin=-limit, vmax=limit)
    axis.set_xticks(range(len(gap)), [str(name) for name in names], rotation=90, fontsize=7)
    axis.set_yticks(range(len(gap)), [str(name) for name in names], fontsize=7)
    axis.set_xlabel('predicted')
    axis.set_ylabel('true')
    figure.colorbar(
        image, ax=axis, label='mistakes more (red) or fewer (blue), mean over seeds', shrink=0.8
    )
    axis.set_title(f'{spec.title}: mistakes of {pair[0].title} minus {pair[1].title}', fontsize=10)
    _save(figure, output)


def _compared_pair(study: Study, found: Mapping[str, Any]) -> tuple[Method, Method] | None:
    spec = study.spec
    own = [claim for claim in spec.hypotheses if claim.study is None]
    if own:
        rival = best_rival(study, own[0].over)
        names = [own[0].method, rival]
    else:
        names = [spec.methods[-1].name, *spec.references[:1]]
    if len(names) < 2 or not all(name in found for name in names):
        return None
    return spec.method(names[0]), spec.method(names[1])


def _ending(results: Results, name: str) -> dict[str, list[Any]]:
    """Return, by method, the results of all seeds whose key is a name after any prefix."""
    found = {method: list(values_ending(results, method, name).values()) for method in results}
    return {method: values for method, values in found.items() if values}


def band(curves: Sequence[Sequence[Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps that all curves have, mean and deviation there (0 for one curve).

    Args:
        curves: Pairs of step and value, one list per run.
    """
    by_step = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step)))
    values = np.array([[curve[step] for step in steps] for curve in by_step], dtype=float)
    deviation = np.zeros(len(steps))
    if len(curves) > 1:
        deviation = values.std(axis=0, ddof=1)
    return np.array(steps), values.mean(axis=0), deviation


def _finite(value: float, other: float) -> float:
    return other if math.isnan(value) else value


def _colors(count: int) -> list[Any]:
    palette = colormaps['tab10']
    return [palette(index % palette.N) for index in range(count)]


def _styles(count: int) -> list[dict[str, Any]]:
    """Return styles of lines that differ: ten colours, solid, then dashed, dotted."""
    lines = ('-', '--', ':')
    return [
        dict(color=color, linestyle=lines[index // 10 % len(lines)], linewidth=1.4)
        for index, color in enumerate(_colors(count))
    ]


def _save(figure: Figure, output: Path) -> None:
    """Write a figure; the same content gives the same bytes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=130, metadata={'Software': None})
