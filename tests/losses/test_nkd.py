"""NKD: by hand, its authors' numbers, its target part next to WKD-L's."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import nkd_loss, wkd_logit_loss


def test_by_hand():
    """Student (1/2, 1/4, 1/4), teacher (1/4, 1/4, 1/2), target the first class."""
    student = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    teacher = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64).log()
    value = nkd_loss(student, teacher, torch.tensor([0]), gamma=3.0)
    assert value.item() == pytest.approx(0.25 * math.log(2) + 3 * math.log(2), rel=1e-12)


@pytest.mark.parametrize('case', ['nkd/0', 'nkd/1', 'nkd/mixed_label'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = nkd_loss(
        student,
        shared['teacher'],
        fields.get('soft_label', shared['label']),
        temperature=fields['temperature'],
        gamma=fields['gamma'],
    )
    check(case, loss, student=student)


def test_without_the_others_it_is_wkd_without_transport():
    shared = golden('logits')
    student, teacher, target = shared['student'], shared['teacher'], shared['label']
    cost = 1 - torch.eye(10, dtype=torch.float64)
    expected = wkd_logit_loss(student, teacher, cost, target, temperature=1.0, transport_weight=0.0)
    assert_close(nkd_loss(student, teacher, target, gamma=0.0), expected, rtol=1e-12, atol=0)
