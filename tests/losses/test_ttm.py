"""TTM and WTTM: their authors' numbers, the plain divergence, powers of any size."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import kd_loss, ttm_loss, wttm_loss

BOTH = dict(ttm=ttm_loss, wttm=wttm_loss)


@pytest.mark.parametrize('name', BOTH)
@pytest.mark.parametrize('index', range(3))
def test_reference(name, index):
    case = f'{name}/{index}'
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = BOTH[name](student, shared['teacher'], exponent=fields['exponent'])
    check(case, loss, student=student)


def test_the_exponent_one_is_the_divergence_at_temperature_one():
    shared = golden('logits')
    student, teacher = shared['student'], shared['teacher']
    expected = kd_loss(student, teacher, temperature=1.0)
    for loss in BOTH.values():
        assert_close(loss(student, teacher, exponent=1.0), expected, rtol=1e-12, atol=0)


def test_an_unsure_teacher_weighs_most():
    """A uniform one: its power sum is C ** (1 - g)."""
    student, teacher = torch.randn(3, 4, dtype=torch.float64), torch.zeros(3, 4).double()
    expected = 4**0.75 * ttm_loss(student, teacher, exponent=0.25)
    assert_close(wttm_loss(student, teacher, exponent=0.25), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize('name', BOTH)
@pytest.mark.parametrize('exponent', [1e-3, 0.1, 5.0])
def test_powers_of_tiny_probabilities(name, exponent):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 100 * torch.randn(2, 6, 10, generator=generator)
    student.requires_grad_()
    BOTH[name](student, teacher, exponent=exponent).backward()
    assert student.grad.isfinite().all()
    assert student.grad.any()
