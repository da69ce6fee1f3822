"""Logits before they are compared: standardised, their targets, and what is left without them."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.kd import dkd_loss, kd_loss
from wkd_det.ops.logits import (
    hard_target,
    non_target_mass,
    of_target,
    standardize_logits,
    target_distribution,
    target_loss,
    tempered,
    without_target,
)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Standardised logits


def test_mean_and_unbiased_deviation():
    logits = standardize_logits(7 * random(4, 9) + 3)
    assert_close(logits.mean(dim=1), torch.zeros(4).double())
    assert_close(logits.std(dim=1), torch.ones(4).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize('case', ['lskd/0', 'lskd/1', 'lskd/dkd'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student, teacher = shared['student'].requires_grad_(), shared['teacher']
    options = dict(temperature=fields['temperature'], standardize=True)
    if case == 'lskd/dkd':
        options |= dict(alpha=fields['alpha'], beta=fields['beta'])
        loss = dkd_loss(student, teacher, shared['label'], **options)
    else:
        loss = kd_loss(student, teacher, **options)
    check(case, loss, student=student)


def test_equal_logits_are_finite():
    logits = torch.full((2, 3), 5.0, requires_grad=True)
    value = standardize_logits(logits)
    assert not value.any()
    value.square().sum().backward()
    assert logits.grad.isfinite().all()


# Targets


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_hard_labels_are_themselves(dtype):
    target = hard_target(torch.tensor([0, 2], dtype=dtype), torch.zeros(2, 3), 'x')
    assert target.dtype == torch.int64
    assert target.tolist() == [0, 2]


def test_soft_labels_stand_for_the_most_probable_class_the_first_of_equal_ones():
    labels = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.5, 0.5]])
    assert hard_target(labels, torch.zeros(2, 3), 'x').tolist() == [1, 1]
    assert torch.equal(target_distribution(labels, torch.zeros(2, 3), 'x'), labels)


def test_distributions_take_the_type_of_the_logits():
    expected = torch.tensor([[1, 0, 0], [0, 0, 1]]).double()
    for target in (torch.tensor([0, 2]), expected.float()):
        assert torch.equal(target_distribution(target, torch.zeros(2, 3).double(), 'x'), expected)


def test_labels_that_are_not_a_number():
    labels = torch.full((2, 3), torch.nan)
    with pytest.raises(ValueError, match='^soft labels in target must not be negative$'):
        hard_target(labels, torch.zeros(2, 3), 'x')


# The target and the others


@pytest.mark.parametrize('left_out', [1, 2])
def test_what_is_left_is_what_a_mask_leaves(left_out):
    values = random(8, 5).requires_grad_()
    index = torch.stack([torch.randperm(5)[:left_out] for _ in range(8)])
    mask = torch.ones(8, 5, dtype=torch.bool).scatter(1, index, False)
    expected = values[mask].view(8, 5 - left_out)
    found = without_target(values, index[:, 0] if left_out == 1 else index)
    assert torch.equal(found, expected)
    weight = random(8, 5 - left_out, seed=1)
    grads = [torch.autograd.grad((weight * one).sum(), values)[0] for one in (found, expected)]
    assert torch.equal(*grads)
    assert torch.equal(of_target(values, index[:, 0]), values[range(8), index[:, 0]])


def test_without_samples():
    empty = torch.zeros(0, dtype=torch.long)
    assert without_target(torch.zeros(0, 5), empty).shape == (0, 4)
    assert of_target(torch.zeros(0, 5), empty).shape == (0,)


def test_the_loss_of_the_target():
    student = torch.tensor([[1.0, 3.0]]).log()
    teacher = torch.zeros(1, 2)
    assert_close(target_loss(student, teacher, torch.tensor([0])), torch.tensor([4.0]).log() / 2)


def test_mass_of_the_other_classes():
    mass = non_target_mass(torch.tensor([[1.0, 2.0, 5.0]]).log(), torch.tensor([1]))
    assert_close(mass, torch.tensor([6 / 8]))
    logits, index = random(5, 4).requires_grad_(), torch.arange(5) % 4
    expected = 1 - of_target(logits.softmax(dim=1), index)
    assert_close(non_target_mass(logits, index), expected, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda z: non_target_mass(z, index), logits)


def test_a_temperature_of_one_costs_no_division():
    logits = random(2, 3)
    assert tempered(logits, 1) is logits
    assert tempered(logits, 1.0) is logits
    assert torch.equal(tempered(logits, 4.0), logits / 4)
    learned = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert tempered(logits, learned).requires_grad
