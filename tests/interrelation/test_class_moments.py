"""Counts, means and covariances from a stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from wkd_det.costs.statistics import ClassMoments

# Float64 sums of some hundred terms.
EXACT = dict(rtol=1e-12, atol=1e-12)


def stream(number=200, dims=5, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(number, dims, generator=generator) * 3 + 1
    return features, torch.randint(0, classes - 1, (number,), generator=generator)


@pytest.mark.parametrize('full', [False, True])
def test_moments_equal_numpy(full):
    features, labels = stream()
    moments = ClassMoments(4, full=full)
    for part in range(0, 200, 30):
        moments.add(features[part : part + 30], labels[part : part + 30])
    assert moments.count.tolist() == torch.bincount(labels, minlength=4).tolist()
    for label in range(3):
        own = features[labels == label].double().numpy()
        assert_close(moments.mean[label].numpy(), own.mean(0), **EXACT)
        expected = np.cov(own.T) if full else own.var(0, ddof=1)
        assert_close(moments.covariance()[label].numpy(), expected, **EXACT)
    # The last class has no examples.
    assert moments.count[3] == 0
    assert not moments.covariance()[3].any()


@pytest.mark.parametrize('full', [False, True])
@pytest.mark.parametrize('cut', [0, 1, 77, 200])
def test_merging_equals_one_pass(full, cut):
    features, labels = stream()
    whole, first, second = (ClassMoments(4, full=full) for _ in range(3))
    whole.add(features, labels)
    if cut:
        first.add(features[:cut], labels[:cut])
    if cut < 200:
        second.add(features[cut:], labels[cut:])
    first.merge(second)
    assert first.count.tolist() == whole.count.tolist()
    assert_close(first.mean, whole.mean, **EXACT)
    assert_close(first.covariance(), whole.covariance(), **EXACT)


def test_merging_does_not_change_the_other():
    features, labels = stream()
    first, second = ClassMoments(4), ClassMoments(4)
    second.add(features, labels)
    before = second.mean.clone()
    first.merge(second)
    first.add(features + 1, labels)
    assert torch.equal(second.mean, before)


def test_a_mean_that_dwarfs_the_spread_costs_no_precision():
    features, labels = stream()
    near, far = ClassMoments(4), ClassMoments(4)
    for part in features.double().split(20):
        size = slice(0, len(part))
        near.add(part, labels[size])
        far.add(part + 1e8, labels[size])
    # 1e8 leaves 1e-8 of each value; the naive difference of squares would leave nothing.
    assert_close(far.covariance(), near.covariance(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ('features', 'labels', 'message'),
    [
        (torch.zeros(3), torch.zeros(3).long(), r'shape \(N, D\)'),
        (torch.zeros(3, 2), torch.zeros(2).long(), r'got \(3, 2\) and \(2,\)'),
        (torch.zeros(3, 2), torch.tensor([0, 1, 4]), r'lie in \[0, 4\), got 0 to 4'),
    ],
)
def test_wrong_examples(features, labels, message):
    with pytest.raises(ValueError, match=message):
        ClassMoments(4).add(features, labels)


def test_other_widths_do_not_merge():
    first, second = ClassMoments(4), ClassMoments(4)
    first.add(*stream(dims=5))
    second.add(*stream(dims=6))
    with pytest.raises(ValueError, match=r'one shape, got \(4, 5\) and \(4, 6\)'):
        first.merge(second)
