"""WSLD: by hand, its authors' numbers, its weight between 0 and 1."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import wsld_loss


def test_by_hand():
    """Student (1/2, 1/2), teacher (1/4, 3/4), target the first class: log 2 over log 4."""
    student = torch.zeros(1, 2, dtype=torch.float64)
    teacher = torch.tensor([[1.0, 3.0]], dtype=torch.float64).log()
    value = wsld_loss(student, teacher, torch.tensor([0]), temperature=1.0, alpha=2.0)
    expected = 2 * (1 - math.exp(-0.5)) * math.log(2)
    assert value.item() == pytest.approx(expected, rel=1e-7)  # the guard is 1e-7


@pytest.mark.parametrize('case', ['wsld/0', 'wsld/1'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = wsld_loss(
        student,
        shared['teacher'],
        shared['label'],
        temperature=fields['temperature'],
        alpha=fields['alpha'],
    )
    check(case, loss, student=student)


def test_what_the_student_knows_is_not_distilled():
    """A student that is sure of the label, whatever the teacher says of the others."""
    student = torch.tensor([[60.0, 0.0, 0.0]])
    teacher = torch.tensor([[0.0, 1.0, 2.0]])
    assert wsld_loss(student, teacher, torch.tensor([0])) == 0
    unsure = wsld_loss(0 * student, 60 * teacher, torch.tensor([2]), alpha=1.0, temperature=1.0)
    assert_close(unsure, torch.tensor(3.0).log())  # a teacher that is sure: the whole entropy
