"""Means and paired differences over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

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
    """Mean and standard error (sample deviation over the root of the count).

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
    """How far ``values`` are above ``reference``, seed by seed.

    The interval is the percentile bootstrap of the mean over paired seeds, from a fixed random
    state: the same values give the same interval. Of one seed there is none (NaN).

    Args:
        values: By seed.
        reference: By seed.

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
