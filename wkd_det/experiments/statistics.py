"""Statistics over seeds: means, paired differences with t intervals, tests and corrections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Mean:
    """Mean over seeds and its standard deviation (NaN for one seed)."""

    value: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean difference over the seeds that both have, with its t interval (NaN for one seed)."""

    value: float
    low: float
    high: float
    count: int
    ahead: int
    """Seeds on which the difference is above 0."""


def mean_of(values: Sequence[float]) -> Mean:
    """Return mean and sample standard deviation.

    Raises:
        ValueError: If there are no values.
    """
    if len(values) == 0:
        raise ValueError('values must not be empty')
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Mean(float(np.mean(values)), deviation, len(values))


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """Return how far ``values`` are above ``reference``, seed by seed.

    The interval is that of Student's t for the mean of the paired differences: right for any
    number of seeds from two, if the differences are distributed normally.

    Args:
        values: Values of one method by seed.
        reference: Values of the other method by seed.

    Returns:
        None if they share no seed.
    """
    gaps = paired_gaps(values, reference)
    if not len(gaps):
        return None
    low = high = math.nan
    if len(gaps) > 1:
        low, high = gaps.mean(), gaps.mean()
        if not is_constant(gaps):
            low, high = ttest_1samp(gaps, 0.0).confidence_interval(CONFIDENCE)
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps), int((gaps > 0).sum()))


def paired_gaps(values: Mapping[int, float], reference: Mapping[int, float]) -> np.ndarray:
    """Return the differences on the seeds that both have, in the order of the seeds."""
    shared = sorted(set(values) & set(reference))
    return np.array([values[seed] - reference[seed] for seed in shared], dtype=float)


def p_value(gaps: np.ndarray, margin: float = 0.0) -> float:
    """Return the p-value of the claim that the mean difference is above ``-margin``.

    It is twice that of the one-sided t-test, at most 1: with margin 0 that of the usual two-sided
    paired test where the mean lies on the side of the claim, and 1 where it does not.

    Args:
        gaps: At least two differences; positive ones speak for the claim.
        margin: Loss that still counts as no loss, >= 0.
    """
    if is_constant(gaps):
        return 0.0 if gaps.mean() > -margin else 1.0
    return min(1.0, 2 * float(ttest_1samp(gaps, -margin, alternative='greater').pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down rule.

    Raises:
        ImportError: If statsmodels is not installed.

    References: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal
        of Statistics 1979.
    """
    return _adjusted(p_values, 'holm')


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the false among those below a level are that share.

    Raises:
        ImportError: If statsmodels is not installed.

    References: Benjamini and Hochberg, Controlling the False Discovery Rate, Journal of the Royal
        Statistical Society B 1995.
    """
    return _adjusted(p_values, 'fdr_bh')


def _adjusted(p_values: Sequence[float], method: str) -> list[float]:
    try:
        from statsmodels.stats.multitest import multipletests
    except ImportError:
        raise ImportError(
            "hypotheses are corrected by statsmodels: pip install 'wkd_det[studies]'"
        ) from None
    return multipletests(p_values, method=method)[1].tolist()


def is_constant(gaps: np.ndarray) -> bool:
    """Whether all differences are equal up to rounding: the t statistic does not exist."""
    return bool(np.ptp(gaps) <= 1e-12 * max(1.0, float(np.abs(gaps).max())))
