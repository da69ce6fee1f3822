"""Distance between Gram matrices: built and not built, near equality."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.ops.divergences import squared_gram_distance

SHAPES = pytest.mark.parametrize('shape', [(3, 7), (7, 3), (4, 4), (1, 5), (5, 1)])


def pair(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, *shape, generator=generator, dtype=torch.float64).to(dtype).unbind(0)


@SHAPES
def test_is_the_norm_of_the_difference(shape):
    student, teacher = pair(shape)
    expected = (student @ student.mT - teacher @ teacher.mT).square().sum(dim=(1, 2))
    assert_close(squared_gram_distance(student, teacher), expected, rtol=1e-12, atol=1e-12)


@SHAPES
def test_gradcheck(shape):
    student, teacher = (values.requires_grad_() for values in pair(shape))
    assert torch.autograd.gradcheck(squared_gram_distance, (student, teacher))


@SHAPES
def test_exactly_zero_at_equality(shape):
    student, teacher = pair(shape, dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    value = squared_gram_distance(student, teacher)
    value.sum().backward()
    assert (value == 0).all()
    assert (student.grad == 0).all()


@SHAPES
def test_float32_keeps_its_digits_near_equality(shape):
    student, teacher = pair(shape)
    student = teacher + 2.0**-10 * student
    expected = squared_gram_distance(student, teacher)
    value = squared_gram_distance(student.float(), teacher.float())
    # The inputs are rounded at 1e-7, so their difference at 1e-4.
    assert_close(value.double(), expected, rtol=2e-3, atol=0)
