"""Batch normalisation of single values, and without a change of its statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from wkd_det.ops.batch_norm import normalise_single_values, unchanged_statistics

# Single values


def test_frozen_norms_stay_frozen_and_all_return_after_an_error():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Dropout())
    module[0].eval()

    def fail():
        assert not module[1].training
        assert module[2].training
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), normalise_single_values(module, torch.zeros(1, 4, 1, 1)):
        fail()
    assert [m.training for m in module] == [False, True, True]


@pytest.mark.parametrize('shape', [(1, 4, 1, 2), (2, 4, 1, 1)])
def test_norms_are_left_alone_where_there_is_a_variance(shape):
    module = nn.Sequential(nn.BatchNorm2d(4))
    with normalise_single_values(module, torch.zeros(shape)):
        assert module[0].training


@pytest.mark.parametrize('processes', [1, 2])
def test_a_synchronised_norm_is_left_to_its_processes(monkeypatch, processes):
    """The others wait in the collective call of a training step."""
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: processes > 1)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: processes)
    norm = nn.SyncBatchNorm(4)
    with normalise_single_values(norm, torch.zeros(0, 4, 7, 7)):
        assert norm.training == (processes > 1)
    assert norm.training


# Statistics


def test_the_batch_is_normalised_as_always_and_nothing_is_remembered():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    network[2][0].eval()
    before = copy.deepcopy(network.state_dict())
    images = torch.randn(5, 3, 2, 2)
    with unchanged_statistics([network, network[1]]):
        found = network(images)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(found, network(images))
    assert not torch.equal(before['1.running_mean'], network[1].running_mean)
    assert network[2][0].num_batches_tracked == 0


def test_norms_without_statistics_stay_so_and_all_return_after_an_error():
    norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)]

    def fail():
        assert not norms[0].track_running_stats
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), unchanged_statistics(norms):
        fail()
    assert [norm.track_running_stats for norm in norms] == [True, False]
