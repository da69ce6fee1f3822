"""Search over factors: one coordinate after the other, on grids that grow until the best is inside.

A point is a factor per stage. The first stage is searched with all later ones at factor 1, the
next with the first at its best, and so on. The search itself trains nothing: it is given the
scores there are and says which runs are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wkd_det.experiments.spec import Stage

Point = tuple[float, ...]
"""A factor per stage."""
Scores = Mapping[float, Sequence[float]]
"""Scores over seeds by factor; NaN for a run that has failed."""


@dataclass
class StageResult:
    """Scores of one stage."""

    scores: dict[float, list[float]]
    best: float
    at_limit: bool
    """Whether the best factor lies at the edge of a grid that was widened as far as allowed."""


@dataclass
class SearchState:
    """All that a search knows so far."""

    stages: list[StageResult] = field(default_factory=list)
    """Stages that are complete."""
    missing: list[tuple[Point, int]] = field(default_factory=list)
    """Points and seeds that must be run before it can go on."""
    chosen: Point | None = None
    """The best point, once all stages are complete."""
    points: dict[Point, float] = field(default_factory=dict)
    """Mean score of each point of the complete stages."""


def advance(
    stages: Sequence[Stage],
    seeds: Sequence[int],
    widen: int,
    score: Callable[[Point, int], float | None],
) -> SearchState:
    """Return the state of a search.

    Args:
        stages: Keys and start factors of each coordinate.
        seeds: Seeds of each point.
        widen: Extra points a side at most, in each stage.
        score: Gives the score of a point with a seed (higher is better), NaN if that run has
            failed, None if it is missing.

    Raises:
        ValueError: If all runs of a stage have failed.
    """
    state = SearchState()
    current = [1.0] * len(stages)
    for index, stage in enumerate(stages):
        grid = sorted(stage.factors)
        added = {-1: 0, 1: 0}  # below and above the start factors
        while True:
            points = {factor: (*current[:index], factor, *current[index + 1 :]) for factor in grid}
            found = {
                factor: [score(point, seed) for seed in seeds] for factor, point in points.items()
            }
            state.missing = [
                (points[factor], seed)
                for factor, values in found.items()
                for seed, value in zip(seeds, values)
                if value is None
            ]
            if state.missing:
                return state
            best = best_factor(found)
            side = edge(grid, best)
            if side == 0 or added[side] == widen:
                break
            added[side] += 1
            grid = sorted([*grid, beyond(grid, side)])
        current[index] = best
        state.stages.append(StageResult(found, best, at_limit=side != 0))
        state.points.update({points[factor]: mean(values) for factor, values in found.items()})
    state.chosen = tuple(current)
    return state


def best_factor(scores: Scores) -> float:
    """Return the factor of the highest mean; of equal ones the nearest to 1, then the smaller.

    A factor of which a run has failed, with the score NaN, is never chosen.

    Raises:
        ValueError: If all have failed.
    """
    means = {factor: mean(values) for factor, values in scores.items()}
    means = {factor: value for factor, value in means.items() if not math.isnan(value)}
    if not means:
        raise ValueError(f'no factor to choose: the runs with {sorted(scores)} have all failed')
    return min(means, key=lambda factor: (-means[factor], abs(math.log(factor)), factor))


def best_points(points: Mapping[Point, float], count: int) -> list[Point]:
    """Return the points of the highest means, the best first; of equal ones the nearest to 1."""

    def order(point: Point) -> tuple[float, float, Point]:
        return -points[point], sum(abs(math.log(factor)) for factor in point), point

    return sorted((point for point in points if not math.isnan(points[point])), key=order)[:count]


def neighbours(point: Point, grid: Iterable[float]) -> list[Point]:
    """Return the points below and above one in its last factor, on a grid that may end at it.

    >>> neighbours((3, 0.5), [0.5, 1, 2])
    [(3, 0.25), (3, 1)]
    """
    *first, factor = point
    grid = sorted({*grid, factor})
    below = max((one for one in grid if one < factor), default=None)
    above = min((one for one in grid if one > factor), default=None)
    return [
        (*first, beyond(grid, -1) if below is None else below),
        (*first, beyond(grid, 1) if above is None else above),
    ]


def edge(grid: Sequence[float], factor: float) -> int:
    """Return -1 or 1 if a factor is the smallest or the largest of a grid, else 0."""
    return -1 if factor == min(grid) else int(factor == max(grid))


def beyond(grid: Sequence[float], side: int) -> float:
    """Return the next factor below (-1) or above (1) a grid, by the ratio of its last two.

    >>> beyond([0.3, 1, 3], 1), beyond([0.3, 1, 3], -1)
    (9.0, 0.09)
    """
    ordered = sorted(grid, reverse=side < 0)
    return float(f'{ordered[-1] * ordered[-1] / ordered[-2]:.3g}')


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN if a value is."""
    return sum(values) / len(values)
