"""Figures of a comparison: learning curves, and paired differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from wkd_det.experiments.report import Results, Row
from wkd_det.experiments.spec import Spec


def learning_curves(spec: Spec, results: Results, output: Path) -> None:
    """Draw the mean over seeds of each method with a band of one standard error.

    The curves show the validation metric if all runs were validated along the way; otherwise the
    task loss (without the distillation terms, which differ from method to method).
    """
    along = all(len(result['curve']) > 1 for runs in results.values() for result in runs.values())
    key = 'curve' if along else 'losses'
    figure = Figure(figsize=(8, 5), layout='constrained')
    axis = figure.subplots()
    colors = _colors(len(spec.methods))
    for method, color in zip(spec.methods, colors):
        runs = results.get(method.name)
        if not runs:
            continue
        steps, mean, error = band([result[key] for result in runs.values()])
        axis.plot(steps, mean, color=color, label=method.title, linewidth=1.4)
        axis.fill_between(steps, mean - error, mean + error, color=color, alpha=0.18, linewidth=0)
    axis.set_xlabel('step')
    axis.set_ylabel(spec.metric if along else 'task loss')
    if not along and any(len(line.get_xdata()) for line in axis.lines):  # else nothing to scale
        axis.set_yscale('log')
    axis.grid(alpha=0.3, which='both')
    axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    axis.set_title(f'{spec.title}: mean over seeds, band of one standard error', fontsize=10)
    _save(figure, output)


def forest_plot(spec: Spec, rows: Sequence[Row], output: Path) -> None:
    """Draw paired differences to each reference with their intervals, one line per method."""
    references = spec.references
    shown = [row for row in rows if any(row.differences.values())]
    height = 1.2 + 0.32 * max(len(shown), 1)
    figure = Figure(figsize=(2.2 + 3.6 * len(references), height), layout='constrained')
    axes = figure.subplots(1, len(references), squeeze=False, sharey=True)[0]
    places = np.arange(len(shown))[::-1]
    for axis, reference in zip(axes, references):
        axis.axvline(0, color='gray', linewidth=1)
        for place, row in zip(places, shown):
            difference = row.differences[reference]
            if difference is None:
                continue
            certain = difference.low > 0 or difference.high < 0
            color = 'gray' if not certain else 'tab:green' if difference.value > 0 else 'tab:red'
            if not math.isnan(difference.low):
                axis.plot([difference.low, difference.high], [place] * 2, color=color, lw=2)
            axis.plot(difference.value, place, 'o', color=color, markersize=5)
        axis.set_yticks(places, [row.title for row in shown], fontsize=8)
        axis.set_ylim(-0.7, len(shown) - 0.3)
        axis.set_title(f'minus {spec.method(reference).title}', fontsize=10)
        axis.set_xlabel(spec.metric, fontsize=8)
        axis.grid(axis='x', alpha=0.3)
    counts = {row.mean.count for row in shown}
    seeds = '/'.join(map(str, sorted(counts)))
    figure.suptitle(f'{spec.title}: paired over {seeds} seeds, 95 % bootstrap', fontsize=10)
    _save(figure, output)


def band(curves: Sequence[Mapping[Any, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps that all curves have, mean and standard error there (0 for one curve)."""
    by_step = [{int(step): value for step, value in curve.items()} for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step)))
    values = np.array([[curve[step] for step in steps] for curve in by_step], dtype=float)
    error = np.zeros(len(steps))
    if len(curves) > 1:
        error = values.std(axis=0, ddof=1) / math.sqrt(len(curves))
    return np.array(steps), values.mean(axis=0), error


def _colors(count: int) -> list[Any]:
    palette = colormaps['tab10' if count <= 10 else 'tab20']
    return [palette(index % palette.N) for index in range(count)]


def _save(figure: Figure, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=130)
