"""Distances of box offsets."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.functional import offset_loss, squared_offset_distance


def test_one_value_a_roi_and_their_mean_by_hand():
    student = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    teacher = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert_close(squared_offset_distance(student, teacher), torch.tensor([5.0, 0.0]))
    assert_close(offset_loss(student, teacher), torch.tensor(5 / 4))


def test_gradcheck_and_no_gradient_for_the_teacher():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: offset_loss(s, teacher), student)
    offset_loss(student, teacher).backward()
    assert teacher.grad is None


def test_no_rois_give_zero_with_a_graph():
    student = torch.zeros(0, 4, requires_grad=True)
    loss = offset_loss(student, torch.zeros(0, 4))
    assert loss == 0
    loss.backward()


def test_half_precision_is_promoted():
    student = torch.full((1, 4), 300.0, dtype=torch.float16)  # its square is out of range
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert_close(offset_loss(student, 0 * student), torch.tensor(9e4))


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r'share a shape \(R, D\), got \(2, 4\) and \(2, 8\)'):
        offset_loss(torch.zeros(2, 4), torch.zeros(2, 8))
