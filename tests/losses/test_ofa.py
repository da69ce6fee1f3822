"""OFA's loss of logits: by hand, its authors' numbers, the cross entropy with the teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import ofa_loss


def test_by_hand():
    """Student (1/2, 1/2), teacher (1/4, 3/4), target the first class, exponent 2."""
    student = torch.zeros(1, 2, dtype=torch.float64)
    teacher = torch.tensor([[1.0, 3.0]], dtype=torch.float64).log()
    value = ofa_loss(student, teacher, torch.tensor([0]), eps=2.0)
    expected = (1.25**2 - 1 + 0.75**2) * math.log(2)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('case', ['ofa/0', 'ofa/1', 'ofa/2'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = ofa_loss(
        student,
        shared['teacher'],
        shared['label'],
        eps=fields['eps'],
        temperature=fields['temperature'],
    )
    check(case, loss, student=student)


def test_the_exponent_one_is_the_cross_entropy_with_the_teacher():
    shared = golden('logits')
    student, teacher = shared['student'], shared['teacher']
    expected = torch.nn.functional.cross_entropy(student, teacher.softmax(dim=1))
    assert_close(ofa_loss(student, teacher, shared['label']), expected, rtol=1e-12, atol=0)
