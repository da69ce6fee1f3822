"""Whether two methods confuse other classes: their tables of confusions, compared cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from wkd_det.experiments.statistics import ALPHA, benjamini_hochberg

Table = Sequence[Sequence[float]]
"""Counts, a square table (rows: true classes)."""


@dataclass(frozen=True)
class Confusions:
    """How far the mistakes of two methods differ in kind.

    A kind of mistake is a pair of a true class and another, predicted one. Each is compared by a
    paired t-test over seeds.
    """

    seeds: int
    """Seeds that both have."""
    more: float
    """Mistakes of the first minus those of the second, mean over seeds."""
    kinds: int
    differing: int
    """Kinds with p < 0.05; without any difference 5 % of all have it by chance."""
    corrected: int
    """Those that are left after the correction of Benjamini and Hochberg."""
    correlation: float
    """Pearson's, of the mean numbers of mistakes of each kind."""


def compared(own: Mapping[int, Table], theirs: Mapping[int, Table]) -> Confusions | None:
    """Compare tables of confusions by seed; None with fewer than two common seeds."""
    seeds = sorted(set(own) & set(theirs))
    if len(seeds) < 2:
        return None
    first, second = (
        np.array([_mistakes(tables[seed]) for seed in seeds]) for tables in (own, theirs)
    )
    gaps = first - second
    p = np.where(gaps.any(axis=0), 0.0, 1.0)  # where all seeds differ alike, or not at all
    varied = np.ptp(gaps, axis=0) > 0
    p[varied] = ttest_1samp(gaps[:, varied], 0.0).pvalue
    return Confusions(
        seeds=len(seeds),
        more=float(gaps.sum(axis=1).mean()),
        kinds=len(p),
        differing=int((p < ALPHA).sum()),
        corrected=sum(value < ALPHA for value in benjamini_hochberg(p.tolist())),
        correlation=float(np.corrcoef(first.mean(axis=0), second.mean(axis=0))[0, 1]),
    )


def _mistakes(table: Table) -> np.ndarray:
    counts = np.array(table, dtype=float)
    return counts[~np.eye(len(counts), dtype=bool)]
