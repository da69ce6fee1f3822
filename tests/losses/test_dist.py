"""DIST: its authors' numbers, numpy's correlation, its batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import dist_loss


@pytest.mark.parametrize('case', ['dist/0', 'dist/1', 'dist/2'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = dist_loss(
        student,
        shared['teacher'],
        temperature=fields['tau'],
        beta=fields['beta'],
        gamma=fields['gamma'],
    )
    check(case, loss, student=student)


@pytest.mark.parametrize('part', ['beta', 'gamma'])
def test_correlations_are_those_of_numpy(part):
    shared = golden('logits')
    student, teacher = shared['student'], shared['teacher']
    both = [logits.softmax(dim=1).numpy() for logits in (student, teacher)]
    rows = both if part == 'beta' else [values.T for values in both]
    expected = np.mean([1 - np.corrcoef(one, other)[0, 1] for one, other in zip(*rows)])
    value = dist_loss(student, teacher, **{'beta': 0.0, 'gamma': 0.0, part: 1.0})
    assert value.item() == pytest.approx(expected, rel=1e-4)  # the guard of the lengths


def test_equal_logits_give_zero_and_opposite_order_two():
    student = golden('logits')['student']
    assert dist_loss(student, student).item() == pytest.approx(0, abs=1e-4)  # the guard
    rising = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert dist_loss(rising, -rising, gamma=0.0).item() == pytest.approx(2, rel=1e-6)


def test_a_sample_alone_has_no_columns():
    shared = golden('logits')
    one = shared['student'][:1].requires_grad_()
    value = dist_loss(one, shared['teacher'][:1], beta=0.0, gamma=3.0, temperature=2.0)
    assert value.item() == pytest.approx(12)
    value.backward()
    assert torch.equal(one.grad, torch.zeros_like(one))


def test_the_batch_is_one_sample_of_the_column_part():
    shared = golden('logits')
    halves = [slice(0, 3), slice(3, 6)]
    student, teacher = shared['student'], shared['teacher']
    whole, parts = (
        [dist_loss(student[h], teacher[h], beta=beta, gamma=1 - beta) for h in [slice(6), *halves]]
        for beta in (1.0, 0.0)
    )
    assert_close(whole[0], (whole[1] + whole[2]) / 2)
    assert abs(parts[0] - (parts[1] + parts[2]) / 2) > 1e-3
