"""Controls for class distances: groups by hand, shuffles that keep the numbers."""

import re

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.costs.controls import GroupCost, ShuffledCost
from wkd_det.costs.interface import ClassTable
from wkd_det.costs.report import read_grouping
from wkd_det.costs.sources import ClassifierCost

NAMES = ['zebra', 'car', 'horse', 'background']


def table(names, rows=None):
    return ClassTable(len(names) if names else len(rows), names, lambda: rows)


def test_groups_by_hand():
    cost = MODELS.build(dict(type='GroupCost', grouping='coco', within=0.25))
    expected = [[0, 1, 0.25, 1], [1, 0, 1, 1], [0.25, 1, 0, 1], [1, 1, 1, 0]]
    assert cost(table(NAMES)).tolist() == expected
    assert cost.by_name


def test_superclasses_of_cifar_100():
    names = list(read_grouping('cifar100'))
    distance = GroupCost('cifar100')(table(names))
    values, counts = distance.unique(return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts.tolist() == [100, 100 * 4, 100 * 95]  # 20 groups of 5
    assert torch.equal(distance, distance.t())


def test_a_shuffle_moves_classes_and_keeps_numbers_and_background():
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    classes = table(NAMES, rows)
    inner = dict(type='ClassifierCost')
    expected = ClassifierCost()(classes)
    orders = set()
    for seed in range(20):
        found = MODELS.build(dict(type='ShuffledCost', cost=inner, seed=seed))(classes)
        assert torch.equal(found, ShuffledCost(ClassifierCost(), seed=seed)(classes))
        assert torch.equal(found[3].sort()[0], expected[3].sort()[0])
        orders.add(tuple(expected[3].tolist().index(value) for value in found[3].tolist()))
        order = torch.tensor([expected[3].tolist().index(value) for value in found[3].tolist()])
        assert torch.equal(found, expected[order][:, order])
    assert len(orders) == 6  # all orders of the three classes
    assert {order[3] for order in orders} == {3}


def test_without_names_every_class_moves():
    rows = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    classes = table(None, rows)
    found = torch.stack([ShuffledCost(ClassifierCost(), seed=seed)(classes) for seed in range(9)])
    assert len(found[:, 2].unique(dim=0)) > 1
    assert torch.equal(found.flatten(1).sort()[0], found[:1].flatten(1).sort()[0].expand(9, -1))


@pytest.mark.parametrize('by_name', [True, False])
def test_a_shuffle_goes_by_name_where_its_source_does(by_name):
    cost = GroupCost('coco') if by_name else ClassifierCost()
    assert ShuffledCost(cost).by_name is by_name


@pytest.mark.parametrize(
    ('build', 'error', 'message'),
    [
        (
            lambda: GroupCost('coco')(table(['zebra', 'unicorn'])),
            ValueError,
            "coco has nothing for the class 'unicorn'; it has ",
        ),
        (lambda: GroupCost('coco', within=0), ValueError, 'within must be positive, got 0'),
        (
            lambda: ShuffledCost(ClassifierCost(), seed=-1),
            ValueError,
            'seed must be an integer of at least 0, got -1',
        ),
    ],
)
def test_what_does_not_fit(build, error, message):
    with pytest.raises(error, match=f'^{re.escape(message)}'):
        build()
