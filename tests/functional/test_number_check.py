"""Options that are numbers: what counts as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wkd_det.ops.checks import check_integers, check_nonnegative, check_positive


def test_numbers_of_all_kinds_pass():
    for value in (1, 0.5, np.float32(0.5), np.float64(2), np.int64(3)):
        check_nonnegative(weight=value)
        check_positive(weight=value)
    check_nonnegative(weight=0, other=0.0)
    check_integers(grid=1, other=np.int64(2))
    check_integers(0, step=0)


@pytest.mark.parametrize('check', [check_nonnegative, check_positive])
@pytest.mark.parametrize('value', ['1', True, None, [1.0], torch.tensor(1.0)])
def test_what_is_no_number(check, value):
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
def test_what_is_out_of_range(check, value, message):
    with pytest.raises(ValueError, match=message):
        check(weight=value)
    with pytest.raises(ValueError, match=message):
        check(fine=1, weight=value)
