"""Statistics: against values computed by hand and by other functions."""

import math
import sys

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from wkd_det.experiments.statistics import (
    holm,
    is_constant,
    mean_of,
    p_value,
    paired_difference,
    paired_gaps,
)


def test_mean_and_standard_deviation():
    mean = mean_of([1.0, 2.0, 3.0, 6.0])
    assert mean.value == 3.0
    assert mean.deviation == pytest.approx(math.sqrt(14 / 3))
    assert mean.count == 4
    assert math.isnan(mean_of([1.0]).deviation)
    with pytest.raises(ValueError, match='^values must not be empty$'):
        mean_of([])


def test_interval_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.30265."""
    difference = paired_difference({1: 2.0, 2: 5.0, 3: 4.0}, {1: 1.0, 2: 3.0, 3: 1.0})
    half = 4.302653 / math.sqrt(3)
    assert difference.value == 2.0
    assert (difference.low, difference.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert (difference.count, difference.ahead) == (3, 3)
    assert half == pytest.approx(t.ppf(0.975, 2) / math.sqrt(3), abs=1e-6)


def test_interval_covers_the_mean_as_often_as_it_says():
    """95 % for five seeds; 400 draws have a standard error of 1.1 %."""
    draws = np.random.default_rng(0).normal(0.3, 2, size=(400, 5))
    zero = dict.fromkeys(range(5), 0.0)
    covered = 0
    for gaps in draws:
        difference = paired_difference(dict(enumerate(gaps)), zero)
        covered += difference.low <= 0.3 <= difference.high
    assert covered / 400 == pytest.approx(0.95, abs=0.03)


def test_paired_difference_removes_what_seeds_share():
    reference = {1: 0.1, 2: 0.5, 3: 0.9}
    values = {seed: value + 0.01 for seed, value in reference.items()}
    difference = paired_difference(values, reference)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.01,) * 3)


def test_only_seeds_that_both_have_are_compared():
    difference = paired_difference({1: 1.0, 2: 5.0}, {2: 4.0, 3: 0.0})
    assert (difference.value, difference.count) == (1.0, 1)
    assert math.isnan(difference.low)
    assert paired_difference({1: 1.0}, {2: 1.0}) is None
    assert paired_gaps({3: 1.0, 1: 2.0, 2: 0.0}, {1: 0.5, 3: 0.0}).tolist() == [1.5, 1.0]


def test_p_value_is_that_of_the_paired_test_on_the_side_of_the_claim():
    values, reference = [1.0, 2.5, 2.0, 4.0], [0.5, 2.0, 2.1, 3.0]
    gaps = np.subtract(values, reference)
    expected = ttest_rel(values, reference).pvalue
    assert p_value(gaps) == pytest.approx(expected)
    assert p_value(-gaps) == 1.0
    # Differences 1, 2, 3 have t = 2 sqrt(3) against 0, and 3 sqrt(3) with a margin of 1.
    assert p_value(np.array([1.0, 2, 3])) == pytest.approx(2 * t.sf(2 * math.sqrt(3), 2))
    assert p_value(np.array([1.0, 2, 3]), 1.0) == pytest.approx(2 * t.sf(3 * math.sqrt(3), 2))


def test_p_value_of_equal_differences():
    assert p_value(np.array([0.1, 0.1])) == 0.0
    assert p_value(np.array([0.0, 0.0])) == 1.0
    assert p_value(np.array([0.0, 0.0]), 0.1) == 0.0
    assert is_constant(np.array([0.3 - 0.1, 0.2]))
    assert not is_constant(np.array([0.0, 1e-6]))


def test_holm_by_hand():
    """0.01, 0.03 and 0.04 of three: times 3, 2 and 1, none below the one before it."""
    pytest.importorskip('statsmodels')
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])


def test_holm_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'statsmodels.stats.multitest', None)
    message = r"^hypotheses are corrected by statsmodels: pip install 'wkd_det\[studies\]'$"
    with pytest.raises(ImportError, match=message):
        holm([0.5])
