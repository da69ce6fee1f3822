"""Contrast of class distances: powers of them, and how unlike a constant cost they act."""

import re

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.costs.contrast import PowerCost, likeness_to_constant
from wkd_det.costs.controls import GroupCost
from wkd_det.costs.interface import ClassTable
from wkd_det.costs.sources import ClassifierCost
from wkd_det.ops.transport import sinkhorn_cost

ROWS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
CLASSES = ClassTable(len(ROWS), None, lambda: ROWS)


def symmetric(size, low, seed=0):
    """Distances between ``low`` and 1."""
    upper = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)).triu(1)
    upper = (low + (1 - low) * upper).triu(1)
    return upper + upper.mT


@pytest.mark.parametrize('power', [0.5, 2, 4.0])
def test_a_power_keeps_the_mean_and_the_order(power):
    plain = ClassifierCost()(CLASSES)
    found = MODELS.build(dict(type='PowerCost', cost=dict(type='ClassifierCost'), power=power))(
        CLASSES
    )
    assert found.sum().item() == pytest.approx(plain.sum().item())
    assert torch.equal(found, found.mT)
    assert not found.diagonal().any()
    ratio = (plain[0, 1] / plain[0, 2]).item()
    assert (found[0, 1] / found[0, 2]).item() == pytest.approx(ratio**power)
    assert torch.equal(found.flatten().argsort(), plain.flatten().argsort())


def test_the_first_power_changes_nothing():
    torch.testing.assert_close(
        PowerCost(ClassifierCost(), power=1)(CLASSES), ClassifierCost()(CLASSES)
    )


def test_distances_of_zero_stay():
    assert not PowerCost(lambda table: torch.zeros(3, 3))(CLASSES).any()


@pytest.mark.parametrize('by_name', [True, False])
def test_a_power_goes_by_name_where_its_source_does(by_name):
    assert PowerCost(GroupCost('coco') if by_name else ClassifierCost()).by_name is by_name


@pytest.mark.parametrize('power', [0, -1.0, float('inf')])
def test_a_power_must_be_positive(power):
    with pytest.raises(ValueError, match=f'^power must be .*got {re.escape(str(power))}'):
        PowerCost(ClassifierCost(), power=power)


def test_equal_distances_are_a_constant_cost():
    assert likeness_to_constant(0.3 * (1 - torch.eye(5))) == 1
    assert likeness_to_constant(torch.tensor([[0, 0.7], [0.7, 0]])) == 1
    assert likeness_to_constant(torch.zeros(4, 4)) == 1


def test_the_more_contrast_the_less_alike():
    found = [likeness_to_constant(symmetric(9, low)) for low in (0.0, 0.3, 0.6, 0.9, 0.99)]
    assert found == sorted(found)
    assert found[0] < 0.75
    assert found[-1] > 0.999


def test_a_likeness_is_the_cosine_of_two_gradients():
    cost = symmetric(6, 0.1).double()
    constant = (cost.sum() / 30) * (1 - torch.eye(6, dtype=torch.float64))
    generator = torch.Generator().manual_seed(7)
    logits, other = torch.randn(2, 4000, 6, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    gradients = []
    for matrix in (cost, constant):
        value = sinkhorn_cost(
            logits.softmax(1), other.softmax(1), matrix, epsilon=0.1, num_iters=30
        )
        gradients += torch.autograd.grad(value.sum(), logits)
    first, second = gradients
    cosines = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    found = likeness_to_constant(cost, epsilon=0.1, num_iters=30)
    assert found == pytest.approx(cosines.mean().item(), abs=0.03)


def test_small_epsilons_do_not_vanish():
    """Where the plain kernel would, both gradients would be 0 and the cosine too."""
    found = likeness_to_constant(symmetric(6, 0.5), epsilon=0.005, num_iters=200)
    assert 0.1 < found < 0.99
