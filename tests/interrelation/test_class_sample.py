"""Seeded samples of fixed size."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.costs.statistics import ClassMoments, ClassSample


def stream(number=300, classes=3):
    """Features that are their own key, so that a sample shows what it holds."""
    keys = torch.arange(number) * 7 + 2**40
    features = torch.arange(float(number))[:, None].expand(-1, 2)
    return features, torch.arange(number) % (classes - 1), keys


def sample_of(rows, size=10, seed=0):
    features, labels, keys = stream()
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
        sample.add(*stream())
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


def test_wrong_sizes():
    with pytest.raises(ValueError, match='size must be an integer of at least 1, got 0'):
        ClassSample(3, 0)
    with pytest.raises(ValueError, match=r'got \(3, 10, 0\) and \(3, 10, 1\)'):
        sample_of(range(8)).merge(sample_of(range(8), seed=1))
