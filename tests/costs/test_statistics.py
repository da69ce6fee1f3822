"""Statistics of classes: moments against numpy and in parts, samples over processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from wkd_det.costs.statistics import ClassMoments, ClassSample

# Moments


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


# Samples


def keyed_stream(number=300, classes=3):
    """Features that are their own key, so that a sample shows what it holds."""
    keys = torch.arange(number) * 7 + 2**40
    features = torch.arange(float(number))[:, None].expand(-1, 2)
    return features, torch.arange(number) % (classes - 1), keys


def sample_of(rows, size=10, seed=0):
    features, labels, keys = keyed_stream()
    sample = ClassSample(3, size, seed=seed)
    for part in torch.as_tensor(rows).split(17):
        sample.add(features[part], labels[part], keys[part])
    return sample


def kept(sample):
    return [sample.of_class(label)[:, 0].tolist() for label in range(2)]


def test_sample_depends_on_examples_and_seed_only():
    whole = sample_of(range(300))
    shuffled = sample_of(torch.randperm(300))
    assert kept(whole) == kept(shuffled)
    assert kept(sample_of(range(300), seed=1)) != kept(whole)
    assert whole.count.tolist() == [10, 10, 0]
    assert all(set(row) <= set(range(label, 300, 2)) for label, row in enumerate(kept(whole)))


@pytest.mark.parametrize('processes', [2, 3, 7])
def test_processes_merge_to_the_sample_of_one(processes):
    merged = sample_of(range(0, 300, processes))
    for rank in range(1, processes):
        merged.merge(sample_of(range(rank, 300, processes)))
    assert kept(merged) == kept(sample_of(range(300)))


def test_every_example_is_as_likely():
    taken = torch.zeros(300)
    for seed in range(150):
        sample = ClassSample(3, 10, seed=seed)
        sample.add(*keyed_stream())
        for row in kept(sample):
            taken[torch.tensor(row).long()] += 1
    # 150 draws of 10 of 150: 10 expected for each, variance 9.33; the deviation of 300 counts
    # from it has a standard error of 3.06 / sqrt(600) = 0.125.
    assert taken.mean() == 10
    assert abs(taken.std().item() - 9.33**0.5) < 0.5


def test_fewer_than_the_size_are_all_kept():
    sample = sample_of(range(8))
    assert [sorted(row) for row in kept(sample)] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    with pytest.raises(ValueError, match='class 2 has no examples'):
        sample.of_class(2)


def test_moments_of_a_sample():
    sample = sample_of(range(300))
    moments = sample.moments(full=True)
    assert moments.count.tolist() == [10, 10, 0]
    for label, row in enumerate(kept(sample)):
        values = torch.tensor(row, dtype=torch.float64)
        assert_close(moments.mean[label, 0], values.mean())
        assert_close(moments.covariance()[label, 0, 1], values.var())
    assert isinstance(sample.moments(), ClassMoments)


def test_samples_of_wrong_sizes():
    with pytest.raises(ValueError, match='size must be an integer of at least 1, got 0'):
        ClassSample(3, 0)
    with pytest.raises(ValueError, match=r'got \(3, 10, 0\) and \(3, 10, 1\)'):
        sample_of(range(8)).merge(sample_of(range(8), seed=1))
