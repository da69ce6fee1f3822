"""Drawn negatives: other classes, distinct, all equally often; tables that do not fit."""

from __future__ import annotations

import copy

import pytest
import torch

from wkd_det.losses.negatives import SampleTable

LABELS = torch.tensor([3, 0, 3, 7, 0, 0, 7, 3, 0, 3])


def table(negatives, labels=LABELS):
    found = SampleTable(len(labels), negatives)
    found.fill(labels)
    return found


def test_negatives_are_of_other_classes_and_distinct():
    """Also where every sample of other classes is drawn: those with the label 0 have six."""
    torch.manual_seed(0)
    index = torch.arange(10).repeat(20)
    for negatives in (1, 3, 6):
        drawn = table(negatives).draw(index)
        assert drawn.shape == (200, negatives)
        assert drawn.dtype == torch.int64
        assert (LABELS[drawn] != LABELS[index][:, None]).all()
        assert all(len(row.unique()) == negatives for row in drawn)


def test_a_pool_that_is_too_small_is_drawn_from_with_replacement():
    torch.manual_seed(0)
    drawn = table(7).draw(torch.tensor([1, 3]))
    assert drawn.shape == (2, 7)
    assert set(drawn[0].tolist()) <= set((LABELS != 0).nonzero().flatten().tolist())
    assert len(drawn[1].unique()) == 7  # of eight with other labels than 7
    assert table(50).draw(torch.tensor([1])).shape == (1, 50)


@pytest.mark.parametrize('negatives', [1, 4])
def test_each_sample_of_the_pool_is_drawn_equally_often(negatives):
    torch.manual_seed(0)
    drawn = table(negatives).draw(torch.full((6000,), 1))
    counts = drawn.flatten().bincount(minlength=10)
    share = counts[LABELS != 0] / 6000
    # Five standard deviations of a mean of 6000 draws, for p between 1/6 and 2/3.
    assert (share - negatives / 6).abs().max() < 5 * 0.5 / 6000**0.5
    assert not counts[LABELS == 0].any()


def test_pairs_are_drawn_equally_often():
    torch.manual_seed(0)
    drawn = table(2).draw(torch.full((6000,), 1)).sort(dim=1).values
    counts = (drawn[:, 0] * 10 + drawn[:, 1]).bincount()
    share = counts[counts > 0] / 6000
    assert len(share) == 15
    assert (share - 1 / 15).abs().max() < 5 * 0.25 / 6000**0.5


def test_draws_follow_the_random_state():
    one = table(3)
    index = torch.arange(10)
    torch.manual_seed(1)
    first = one.draw(index)
    torch.manual_seed(1)
    assert torch.equal(table(3).draw(index), first)
    assert not torch.equal(one.draw(index), first)


def test_a_sample_without_a_label_is_a_class_of_its_own():
    torch.manual_seed(0)
    drawn = table(3, torch.tensor([-1, -1, 0, 0])).draw(torch.tensor([0, 1]))
    assert drawn.sort(dim=1).values.tolist() == [[1, 2, 3], [0, 2, 3]]
    only = table(2, torch.tensor([-1, -1, -1])).draw(torch.tensor([1]))
    assert sorted(only[0].tolist()) == [0, 2]


def test_the_table_is_not_saved_and_the_labels_are_left_as_they_are():
    labels = torch.tensor([-1, 0, 1])
    one = table(1, labels)
    assert labels.tolist() == [-1, 0, 1]
    assert not one.state_dict()
    assert sum(buffer.nbytes for buffer in one.buffers()) == 24 * 3
    assert copy.deepcopy(one).draw(torch.tensor([0])).shape == (1, 1)


def test_a_large_pool_needs_hardly_more_draws_than_negatives():
    many = table(64, torch.arange(20000) % 10)
    assert 64 <= many._draws < 72
    assert many.draw(torch.arange(8)).shape == (8, 64)


def test_labels_that_do_not_fit():
    one = SampleTable(3, 1)
    with pytest.raises(
        ValueError,
        match=r'^labels must have the shape \(num_samples,\) = \(3,\), got \(2,\)$',
    ):
        one.fill(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r'^labels must hold integers, got torch.float32$'):
        one.fill(torch.ones(3))
    with pytest.raises(ValueError, match='^labels must be of at least 2 classes: there are no'):
        one.fill(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(TypeError, match='^labels must be a tensor, got'):
        one.fill([0, 1, 2])


def test_indices_that_do_not_fit():
    one = table(1)
    with pytest.raises(ValueError, match=r'^index must have the shape \(N,\), got \(1, 1\)$'):
        one.draw(torch.tensor([[0]]))
    with pytest.raises(ValueError, match='^index must hold integers, got torch.bool$'):
        one.draw(torch.tensor([True]))
    with pytest.raises(ValueError, match=r'^index must lie in .* got values from -1 to 3$'):
        one.draw(torch.tensor([3, -1]))
    assert one.draw(torch.tensor([], dtype=torch.int64)).shape == (0, 1)
