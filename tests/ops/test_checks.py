"""Checks of arguments, and lists of names for their messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wkd_det.ops.checks import (
    check_integers,
    check_logits,
    check_maps,
    check_nonnegative,
    check_positive,
    check_target,
    check_weights,
    level_masks,
    listed,
)


def test_numbers_of_all_kinds_pass():
    for value in (1, 0.5, np.float32(0.5), np.float64(2), np.int64(3)):
        check_nonnegative(weight=value)
        check_positive(weight=value)
    check_nonnegative(weight=0, other=0.0)
    check_integers(grid=1, other=np.int64(2))
    check_integers(0, step=0)


@pytest.mark.parametrize('check', [check_nonnegative, check_positive])
@pytest.mark.parametrize('value', ['1', True, None, [1.0], torch.tensor(1.0)])
def test_values_that_are_no_numbers(check, value):
    with pytest.raises(ValueError, match=r'weight must be a number, got '):
        check(weight=value)


@pytest.mark.parametrize(
    ('check', 'value', 'message'),
    [
        (check_nonnegative, -0.5, 'weight must not be negative, got -0.5'),
        (check_nonnegative, math.nan, 'weight must not be negative, got nan'),
        (check_integers, np.True_, 'weight must be an integer of at least 1, got np.True_'),
        (check_nonnegative, math.inf, 'weight must be finite, got inf'),
        (check_positive, 0, 'weight must be positive, got 0'),
        (check_positive, math.nan, 'weight must be positive, got nan'),
        (check_positive, math.inf, 'weight must be finite, got inf'),
        (check_integers, 0, 'weight must be an integer of at least 1, got 0'),
        (check_integers, True, 'weight must be an integer of at least 1, got True'),
        (check_integers, 2.0, 'weight must be an integer of at least 1, got 2.0'),
        (check_integers, '2', "weight must be an integer of at least 1, got '2'"),
    ],
)
def test_numbers_out_of_range(check, value, message):
    with pytest.raises(ValueError, match=message):
        check(weight=value)
    with pytest.raises(ValueError, match=message):
        check(fine=1, weight=value)


def test_weights_are_numbers_one_per_comparison():
    for weights in (None, [1.0, 0], (2, np.float32(0.5))):
        check_weights('stage_weights', weights, 2, 'stage')


@pytest.mark.parametrize('weights', [[1.0], [1.0, -1.0], [1.0, math.inf], [1.0, True], 1.0])
def test_weights_of_another_kind(weights):
    message = 'stage_weights must be 2 numbers >= 0, one for each stage, got '
    with pytest.raises(ValueError, match=message):
        check_weights('stage_weights', weights, 2, 'stage')


def test_logits_share_their_shape():
    check_logits(torch.zeros(2, 3), torch.ones(2, 3))
    for student, teacher in (((2, 3), (2, 4)), ((2,), (2,))):
        with pytest.raises(
            ValueError, match=r'student and teacher must share a shape \(N, C\), got'
        ):
            check_logits(torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize(
    ('target', 'shape', 'message'),
    [
        ([0, 1, 2], (2, 3), r'target must have the shape \(2,\), got \(3,\)'),
        ([0, 0], (2, 1), 'DKD needs at least 2 classes, got 1'),
        ([0, 3], (2, 3), r'target must lie in \[0, 3\), got values from 0 to 3'),
        ([-1, 2], (2, 3), r'target must lie in \[0, 3\), got values from -1 to 2'),
    ],
)
def test_targets_that_do_not_fit_the_logits(target, shape, message):
    with pytest.raises(ValueError, match=message):
        check_target(torch.tensor(target), torch.zeros(shape), 'DKD')


def test_targets_that_fit():
    check_target(torch.tensor([0, 2]), torch.zeros(2, 3), 'DKD')
    check_target(torch.zeros(0, dtype=torch.long), torch.zeros(0, 3), 'DKD')


def test_maps_of_another_size_pass_only_where_asked_for():
    one, other = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)
    check_maps(one, other, None, same_size=False)
    with pytest.raises(ValueError, match=r'must share a shape \(N, C, H, W\), got'):
        check_maps(one, other, None)
    with pytest.raises(ValueError, match='; only H and W may differ'):
        check_maps(one, other[:1], None, same_size=False)


def test_a_mask_per_level():
    maps = [torch.zeros(2, 3, size, size) for size in (4, 2)]
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    assert level_masks(maps, maps, None) == [None, None]
    assert level_masks(maps, maps, [mask, None]) == [mask, None]
    with pytest.raises(ValueError, match='at least 1, got 2, 1 and 2'):
        level_masks(maps, maps[:1], None)
    with pytest.raises(ValueError, match='level 1: mask must be bool'):
        level_masks(maps, maps, [None, mask])


def test_names_in_a_row_and_how_many_more():
    assert listed([]) == ''
    assert listed('abc', 3) == 'a, b, c'
    assert listed(range(12)) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
