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
    """Return median, least and largest of some values.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(median(values), min(values), max(values))


def time_in_turns(
    runs: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    seconds: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time some functions in turns, A B C A B C, so that a busy machine slows all alike.

    Args:
        runs: Functions by name.
        repeats: Least number of timed rounds, >= 1, after one that is not timed.
        seconds: Least duration of all rounds: functions that take milliseconds are timed hundreds
            of times.
        clock: Seconds of what is timed; those of the processor (``time.process_time``) leave out
            the waiting for a core that other programs hold, and add up all threads.

    Returns:
        Seconds by name, one value per round; equal places belong to the same round.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    rounds = -1
    while rounds < repeats or time.perf_counter() < end:
        for name, run in runs.items():
            start = clock()
            run()
            if rounds >= 0:
                found[name].append(clock() - start)
        rounds += 1
    return found


def pairwise_ratio(numerator: list[float], denominator: list[float]) -> Spread:
    """Return the spread of the ratios of times of the same round.

    >>> pairwise_ratio([2.0, 6.0, 9.0], [1.0, 2.0, 3.0])
    Spread(median=3.0, low=2.0, high=3.0)
    """
    return spread([above / below for above, below in zip(numerator, denominator)])
