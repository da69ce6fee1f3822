"""Sampler of joined data sets."""

from collections import Counter
from types import SimpleNamespace

import pytest

from wkd_det.runtime import source_sampler
from wkd_det.runtime.source_sampler import SourceSampler


def joined(*sizes):
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return SimpleNamespace(cumulative_sizes=ends)


def batches(sampler, size):
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    assert len(drawn) % size == 0
    return [drawn[begin : begin + size] for begin in range(0, len(drawn), size)]


def in_process(monkeypatch, rank, count):
    monkeypatch.setattr(source_sampler, 'get_dist_info', lambda: (rank, count))


def test_each_batch_has_the_ratio():
    sampler = SourceSampler(joined(10, 50), batch_size=8, source_ratio=[1, 3], seed=0)
    found = batches(sampler, 8)
    assert len(found) == 5  # one pass over the first ten, two at a time
    assert all([index < 10 for index in batch] == [True] * 2 + [False] * 6 for batch in found)
    assert sorted(index for batch in found for index in batch[:2]) == list(range(10))
    others = [index for batch in found for index in batch[2:]]
    assert len(set(others)) == 30
    assert set(others) <= set(range(10, 60))


def test_batches_alternate():
    sampler = SourceSampler(
        joined(8, 50), batch_size=4, source_ratio=[1, 2], alternate=True, seed=0
    )
    found = batches(sampler, 4)
    assert [{index < 8 for index in batch} for batch in found] == [{True}, {False}, {False}] * 2


def test_epochs_go_on_where_the_last_one_has_stopped():
    sampler = SourceSampler(joined(4, 6), batch_size=4, source_ratio=[2, 2], seed=1)
    drawn = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn += batches(sampler, 4)
    assert len(drawn) == 6
    others = [index for batch in drawn for index in batch[2:]]
    assert [sorted(others[:6]), sorted(others[6:])] == [list(range(4, 10))] * 2  # whole passes
    assert others[:6] != others[6:]
    firsts = [batch[:2] for batch in drawn]
    assert firsts[:2] != firsts[2:4]
    sampler.set_epoch(1)
    assert batches(sampler, 4) == drawn[2:4]


def test_the_seed_decides():
    options = dict(batch_size=4, source_ratio=[1, 1])
    one, same, other = (SourceSampler(joined(20, 30), seed=seed, **options) for seed in (0, 0, 1))
    assert list(one) == list(same) != list(other)
    ordered = SourceSampler(joined(3, 9), batch_size=2, source_ratio=[1, 1], shuffle=False, seed=0)
    assert list(ordered) == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize('alternate', [False, True])
def test_processes_share_an_epoch(monkeypatch, alternate):
    drawn = []
    for rank in range(2):
        in_process(monkeypatch, rank, 2)
        sampler = SourceSampler(
            joined(8, 100), batch_size=4, source_ratio=[1, 1], alternate=alternate, seed=0
        )
        drawn.append(batches(sampler, 4))
    kinds = [[sorted(index < 8 for index in batch) for batch in own] for own in drawn]
    assert kinds[0] == kinds[1]  # in step with each other
    every = [index for own in drawn for batch in own for index in batch]
    assert max(Counter(every).values()) == 1  # no image twice
    assert set(range(8)) <= set(every)


def test_a_pass_that_ends_within_a_batch_goes_on_with_the_next():
    sampler = SourceSampler(joined(3, 3), batch_size=4, source_ratio=[1, 1], seed=0)
    found = batches(sampler, 4)
    assert len(found) == 2
    firsts = [index for batch in found for index in batch[:2]]
    assert sorted(firsts[:3]) == [0, 1, 2]


@pytest.mark.parametrize(
    ('dataset', 'options', 'message'),
    [
        (SimpleNamespace(), {}, 'draws from a ConcatDataset, got a SimpleNamespace'),
        (joined(3, 3), dict(batch_size=0), 'batch_size must be an integer of at least 1, got 0'),
        (joined(3, 3, 3), {}, r'one number for each of the 3 data sets, got \[1, 1\]'),
        (joined(3, 3), dict(source_ratio=[1, 0]), r'source_ratio\[1\] must be an integer of at le'),
        (joined(3, 3), dict(source_ratio=[1, 2]), 'has 3 parts, which must divide batch_size, got'),
        (joined(3, 0), {}, r'no data set may be empty, got \[3, 0\] images'),
        (joined(3, 3), dict(seed=-1), 'seed must be an integer of at least 0, got -1'),
    ],
    ids=str,
)
def test_errors(dataset, options, message):
    options = dict(dict(batch_size=4, source_ratio=[1, 1], seed=0), **options)
    with pytest.raises((TypeError, ValueError), match=message):
        SourceSampler(dataset, **options)


def test_without_a_seed_all_processes_agree_on_one(monkeypatch):
    monkeypatch.setattr(source_sampler, 'sync_random_seed', lambda: 7)
    options = dict(batch_size=4, source_ratio=[1, 1])
    agreed = SourceSampler(joined(20, 30), **options)
    assert list(agreed) == list(SourceSampler(joined(20, 30), seed=7, **options))
