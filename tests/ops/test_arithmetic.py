"""Types of the arithmetic, the mean over samples as MMDetection takes it, equal blocks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.losses.utils import weight_reduce_loss
from torch.testing import assert_close

from precision import AUTOCAST
from wkd_det.ops.arithmetic import (
    equal_parts,
    matrix_product,
    promote,
    scaled,
    weighted_mean,
    without_autocast,
)

# mmdet adds the rounding unit of float32 to avg_factor; ours does not.
MMDET = dict(rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ('given_types', 'expected'),
    [
        ([torch.float16], torch.float32),
        ([torch.bfloat16, torch.float32], torch.float32),
        ([torch.float16, torch.float64], torch.float64),
        ([torch.int64, torch.float32], torch.float32),
    ],
)
def test_promoted_types(given_types, expected):
    promoted = promote(*(torch.ones(2, dtype=dtype) for dtype in given_types))
    assert [tensor.dtype for tensor in promoted] == [expected] * len(given_types)


def test_promotion_is_differentiable_and_leaves_float32_alone():
    half = torch.ones(2, dtype=torch.float16, requires_grad=True)
    single = torch.ones(2, requires_grad=True)
    promoted = promote(half, single)
    assert promoted[1] is single
    promoted[0].sum().backward()
    assert torch.equal(half.grad, torch.ones(2, dtype=torch.float16))


def test_autocast_is_off_inside_and_on_again_after():
    matrix = torch.rand(3, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        with without_autocast(matrix):
            assert (matrix @ matrix).dtype == torch.float32
        assert (matrix @ matrix).dtype == torch.bfloat16


def factors(*shape, dtype=torch.float64):
    """Matrices ``(..., 3, 4)`` and ``(..., 4, 5)``."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(*shape, *size, generator=generator, dtype=dtype).requires_grad_()
        for size in ((3, 4), (4, 5))
    ]


@pytest.mark.parametrize('shape', [(), (2,), (2, 3), (0,)])
def test_product_and_gradients_are_those_of_torch(shape):
    left, right = factors(*shape, dtype=torch.float32)
    results = []
    for product in (matrix_product, torch.matmul):
        value = product(left, right)
        results.append((value, *torch.autograd.grad(value.square().sum(), (left, right))))
    for one, other in zip(*results):
        assert torch.equal(one, other)


def test_gradchecks_of_the_product():
    left, right = factors(2)
    assert torch.autograd.gradcheck(matrix_product, (left, right))
    assert torch.autograd.gradgradcheck(matrix_product, (left, right))
    assert torch.autograd.gradcheck(lambda one: matrix_product(one.mT, one), left)


@pytest.mark.parametrize('wanted', [0, 1])
def test_only_the_gradient_that_is_needed(wanted):
    both = factors(2)
    both[1 - wanted].requires_grad_(False)
    matrix_product(*both).sum().backward()
    assert both[wanted].grad is not None
    assert both[1 - wanted].grad is None


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_gradient_of_the_product_inside_autocast(dtype):
    both = factors(2, dtype=torch.float32)
    expected = torch.autograd.grad(matrix_product(*both).square().sum(), both)
    plain = (both[0] @ both[1]).square().sum()
    value = matrix_product(*both).square().sum()
    with torch.autocast('cpu', dtype=dtype):
        assert matrix_product(*both).dtype == torch.float32
        for grad, other in zip(torch.autograd.grad(value, both), expected):
            assert torch.equal(grad, other)
        for grad, other in zip(torch.autograd.grad(plain, both), expected):
            assert not torch.equal(grad, other)  # what the product is for


def test_means_by_hand():
    losses, weight = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 0.0, 0.5])
    assert weighted_mean(losses).item() == 3  # small integers: exact
    assert weighted_mean(losses, avg_factor=2).item() == 4.5
    assert weighted_mean(losses, weight, avg_factor=torch.tensor(8.0)).item() == 0.5
    # Without avg_factor the number of samples divides, whatever the weights: 4 / 3, rounded.
    assert weighted_mean(losses, weight).item() == pytest.approx(4 / 3, rel=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    samples=st.integers(1, 6),
    weighted=st.booleans(),
    avg_factor=st.one_of(st.none(), st.floats(0.5, 100)),
    seed=st.integers(0, 99),
)
def test_same_as_mmdet(samples, weighted, avg_factor, seed):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(samples, generator=generator)
    weight = torch.rand(samples, generator=generator) if weighted else None
    assert_close(
        weighted_mean(losses, weight, avg_factor),
        weight_reduce_loss(losses, weight, 'mean', avg_factor),
        **MMDET,
    )


@pytest.mark.parametrize('avg_factor', [None, 4.0])
def test_no_samples_give_zero_with_a_graph(avg_factor):
    losses = torch.zeros(0, requires_grad=True)
    value = weighted_mean(losses, torch.zeros(0), avg_factor)
    assert value.item() == 0
    value.backward()
    assert losses.grad.shape == (0,)


@pytest.mark.parametrize('avg_factor', [0, -1.0, math.nan, torch.tensor(0.0)])
def test_avg_factor_must_be_positive(avg_factor):
    with pytest.raises(ValueError, match='avg_factor must be positive, got'):
        weighted_mean(torch.ones(2), avg_factor=avg_factor)


def test_weight_must_have_the_shape_of_the_samples():
    with pytest.raises(ValueError, match=r'weight must have the shape .* \(2,\), got \(2, 1\)'):
        weighted_mean(torch.ones(2), torch.ones(2, 1))


@pytest.mark.parametrize('length', [0, 1, 7, 12, 100])
@pytest.mark.parametrize('most', [0, 1, 5, 12])
def test_equal_parts_cover_the_axis_and_differ_by_one_at_most(length, most):
    parts = equal_parts(length, most)
    sizes = [part.stop - part.start for part in parts]
    assert [index for part in parts for index in range(part.start, part.stop)] == [*range(length)]
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-length // max(most, 1))


def test_the_number_one_costs_no_product():
    values = torch.arange(3.0)
    assert scaled(values, 1) is values
    assert torch.equal(scaled(values, 0.5), values / 2)
    assert torch.equal(scaled(values, 0), torch.zeros(3))
    learned = torch.ones((), requires_grad=True)
    assert scaled(values, learned).requires_grad
