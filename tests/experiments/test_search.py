"""Searches: the order of their runs, grids that grow, and what is chosen."""

import math

import pytest

from wkd_det.experiments.search import (
    advance,
    best_factor,
    best_points,
    beyond,
    edge,
    neighbours,
)
from wkd_det.experiments.spec import Stage

STAGES = [Stage(('a',), (0.5, 1.0, 2.0)), Stage(('b',), (0.5, 1.0, 2.0))]


def run(score, *, stages=STAGES, seeds=(1, 2), widen=4):
    """Answer a search until it ends; return the state and the points in the order of asking."""
    known, asked = {}, []
    while True:
        state = advance(stages, seeds, widen, lambda point, seed: known.get((point, seed)))
        if not state.missing:
            return state, asked
        for point, seed in state.missing:
            known[point, seed] = score(point)
            asked += [point] if seed == seeds[0] else []


def peak(*best):
    """Scores that fall with the distance from a point."""
    return lambda point: -sum(math.log(x / y) ** 2 for x, y in zip(point, best))


def test_stages_follow_each_other_and_share_the_point_where_they_meet():
    state, asked = run(peak(1, 1))
    assert asked == [(0.5, 1), (1, 1), (2, 1), (1, 0.5), (1, 2)]
    assert state.chosen == (1, 1)
    assert not any(stage.at_limit for stage in state.stages)
    assert state.points[0.5, 1] == pytest.approx(-(math.log(2) ** 2))


def test_a_grid_goes_on_by_its_own_ratio_until_the_best_is_inside():
    state, asked = run(peak(4, 0.25))
    assert asked == [
        (0.5, 1), (1, 1), (2, 1), (4, 1), (8, 1), (4, 0.5), (4, 2), (4, 0.25), (4, 0.125),
    ]  # fmt: skip
    assert state.chosen == (4, 0.25)
    assert list(state.stages[1].scores) == [0.125, 0.25, 0.5, 1, 2]
    assert not any(stage.at_limit for stage in state.stages)


def test_widening_ends_at_its_limit_which_is_known():
    state, asked = run(peak(1000, 1), widen=2)
    assert asked[:5] == [(0.5, 1), (1, 1), (2, 1), (4, 1), (8, 1)]
    assert state.chosen == (8, 1)
    assert [stage.at_limit for stage in state.stages] == [True, False]
    assert run(peak(1000, 1), widen=0)[0].chosen == (2, 1)


def test_the_best_may_move_from_one_side_to_the_other():
    """Both sides have their own limit."""
    scores = {0.5: 3.0, 1: 1.0, 2: 2.0, 0.25: 0.0}
    state, asked = run(lambda point: scores[point[0]], stages=STAGES[:1], widen=1)
    assert asked == [(0.5,), (1,), (2,), (0.25,)]
    assert state.chosen == (0.5,)


def test_what_breaks_down_has_lost_and_bounds_the_grid():
    state, _ = run(lambda point: math.nan if point[0] > 1 else point[0], stages=STAGES[:1])
    assert state.chosen == (1,)
    assert not state.stages[0].at_limit
    message = r'^no factor to choose: the runs with \[0.5, 1.0, 2.0\] have all failed$'
    with pytest.raises(ValueError, match=message):
        run(lambda point: math.nan)


def test_all_missing_runs_of_a_stage_are_named_at_once():
    state = advance(STAGES, (1, 2), 4, lambda point, seed: 0.0 if seed == 1 else None)
    assert state.missing == [((0.5, 1.0), 2), ((1.0, 1.0), 2), ((2.0, 1.0), 2)]
    assert state.chosen is None
    assert state.stages == []


@pytest.mark.parametrize(
    ('scores', 'factor'),
    [
        ({0.5: [0.1, 0.2], 1.0: [0.3, 0.1], 2.0: [0.1, 0.1]}, 1.0),
        ({0.5: [0.1], 1.0: [0.1], 2.0: [0.1]}, 1.0),  # nothing says to leave the default
        ({0.5: [0.1], 2.0: [0.1]}, 0.5),
        ({1.0: [0.1, math.nan], 4.0: [0.05, 0.05]}, 4.0),  # one run has failed
    ],
)
def test_best_factor(scores, factor):
    assert best_factor(scores) == factor


def test_best_points_nearest_to_one_first():
    points = {(1, 1): 0.5, (2, 1): 0.5, (4, 1): 0.75, (8, 1): math.nan}
    assert best_points(points, 2) == [(4, 1), (1, 1)]
    assert best_points(points, 9) == [(4, 1), (1, 1), (2, 1)]


def test_ends_of_grids():
    assert [edge([1, 2, 4], factor) for factor in (1, 2, 4)] == [-1, 0, 1]
    assert beyond([1, 2, 8], 1) == 32
    assert beyond([1, 2, 8], -1) == 0.5


@pytest.mark.parametrize(
    ('point', 'below_and_above'),
    [
        ((3, 1), [(3, 0.5), (3, 2)]),
        ((3, 0.5), [(3, 0.25), (3, 1)]),
        ((9, 2), [(9, 1), (9, 4)]),
        ((9, 4), [(9, 2), (9, 8)]),  # not on the grid: it goes on from there
    ],
)
def test_neighbours_of_a_point_in_its_last_factor(point, below_and_above):
    assert neighbours(point, [2, 0.5, 1]) == below_and_above
