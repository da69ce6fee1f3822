"""ICD's loss: worked by hand, limits, gradients and errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.functional import attended_loss


def values(shape=(2, 3, 4, 5), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(dtype)
    attention = torch.rand(shape[:3], generator=generator, dtype=torch.float64).to(dtype)
    return student, teacher, attention


def test_two_pixels_by_hand():
    """Two channels normalise to +1 and -1: equal at the first pixel, opposite at the second."""
    student = torch.tensor([[[[1.0, 0.0], [9.0, 1.0]]]], dtype=torch.float64)
    teacher = torch.tensor([[[[7.0, 2.0], [0.0, 3.0]]]], dtype=torch.float64)
    attention = torch.tensor([[[3.0, 1.0]]], dtype=torch.float64)
    loss = attended_loss(student, teacher, attention)
    # 1e-5 is added to the variance, 1/4 at the smallest.
    assert_close(loss, torch.tensor(4 * 1 / (3 + 1)).double(), rtol=1e-4, atol=0)


def test_it_is_the_weighted_mean_square_of_the_normalised_values():
    student, teacher, attention = values()
    difference = (F.layer_norm(student, (5,)) - F.layer_norm(teacher, (5,))).square()
    share = attention / attention.sum(2, keepdim=True)
    expected = (share[..., None] * difference).sum(2).mean()
    assert_close(attended_loss(student, teacher, attention), expected)


def test_the_scale_of_attention_and_values_does_not_matter():
    student, teacher, attention = values()
    expected = attended_loss(student, teacher, attention)
    # 1e-5 is added to the variances.
    assert_close(
        attended_loss(100 * student + 7, teacher, 5 * attention), expected, rtol=1e-3, atol=0
    )


def test_where_nothing_is_attended_it_is_zero_with_a_graph():
    student, teacher, attention = values()
    student.requires_grad_()
    loss = attended_loss(student, teacher, 0 * attention)
    assert loss == 0
    loss.backward()
    assert student.grad.abs().max() == 0


def test_gradcheck_and_gradients_for_the_student_alone():
    student, teacher, attention = (value.requires_grad_() for value in values((1, 2, 3, 4)))
    assert torch.autograd.gradcheck(lambda s: attended_loss(s, teacher, attention), student)
    attended_loss(student, teacher, attention).backward()
    assert teacher.grad is None
    assert attention.grad is None


def test_half_precision_is_promoted():
    student, teacher, attention = values(dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert attended_loss(student, teacher, attention).dtype == torch.float32


def test_errors_name_both_shapes():
    student, teacher, attention = values()
    with pytest.raises(
        ValueError, match=r'shape \(N, M, S, D\), got \(2, 3, 4, 5\) and \(2, 3, 4\)'
    ):
        attended_loss(student, teacher[..., 0], attention)
    with pytest.raises(ValueError, match=r'attention must .* = \(2, 3, 4\), got \(2, 4, 4\)'):
        attended_loss(student, teacher, attention.new_zeros(2, 4, 4))
