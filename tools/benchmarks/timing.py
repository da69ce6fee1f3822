"""Times that can be compared: taken in turns, compared pair by pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Median, least and largest of some values.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(median(values), min(values), max(values))


def time_in_turns(
    runs: Mapping[str, Callable[[], Any]], *, repeats: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Time some functions in turns, A B C A B C, so that a busy machine slows all alike.

    Args:
        runs: Functions by name.
        repeats: Timed rounds, >= 1.
        warmup: Rounds before that, not timed.

    Returns:
        Seconds by name, one value a round; equal places belong to the same round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_index in range(-warmup, repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            elapsed = time.perf_counter() - start
            if round_index >= 0:
                seconds[name].append(elapsed)
    return seconds


def pairwise_ratio(numerator: list[float], denominator: list[float]) -> Spread:
    """Ratios of times of the same round.

    >>> pairwise_ratio([2.0, 6.0, 9.0], [1.0, 2.0, 3.0])
    Spread(median=3.0, low=2.0, high=3.0)
    """
    return spread([above / below for above, below in zip(numerator, denominator)])
