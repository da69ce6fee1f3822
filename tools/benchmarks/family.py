"""``benchmark.py family``: the cost of each form of the feature loss, next to WKD-F."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.losses import value_and_gradient
from benchmarks.memory import peak_extra_bytes
from benchmarks.report import format_table
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from wkd_det.functional import FEATURE_DISTANCES, feature_distribution_loss

_WKD_F = 'diag w2'
_GRID = 2


def benchmark_family(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Time forward and backward of every distribution and distance on the same random maps.

    Args:
        repeats: Least number of timed rounds.
        quick: Use four small maps.

    Returns:
        One dict: ``case``, ``forms`` (``seconds``, ``ratio`` to WKD-F, ``extra_bytes``), no
        ``verdicts``.
    """
    shape = (4, 8, 4, 4) if quick else (64, 64, 8, 8)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(shape, generator=generator) for _ in range(2)]
    runs = {}
    for distribution, distance in FEATURE_DISTANCES:
        loss = partial(
            feature_distribution_loss, distribution=distribution, distance=distance, grid=_GRID
        )
        runs[f'{distribution} {distance}'] = partial(value_and_gradient, loss, *maps)
    seconds = time_in_turns(runs, repeats=repeats)
    forms = {
        name: dict(
            seconds=spread(values),
            ratio=pairwise_ratio(values, seconds[_WKD_F]),
            extra_bytes=peak_extra_bytes(runs[name]),
        )
        for name, values in seconds.items()
    }
    size = ' x '.join(map(str, shape))
    return [dict(case=f'N x C x H x W = {size}, grid {_GRID}', forms=forms, verdicts=[])]


def format_family(cases: list[dict[str, Any]]) -> str:
    """Return the table of :func:`benchmark_family`."""
    (case,) = cases
    rows = [
        [
            name,
            f'{1e3 * form["seconds"].median:.1f}',
            f'{form["ratio"].median:.1f}',
            f'{form["ratio"].low:.1f} .. {form["ratio"].high:.1f}',
            f'{form["extra_bytes"] / 2**20:.1f}',
        ]
        for name, form in case['forms'].items()
    ]
    return f'{case["case"]}\n' + format_table(['form', 'ms', 'ratio', 'range', 'extra MiB'], rows)
