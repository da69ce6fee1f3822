"""Closed forms of divergences against torch.distributions, on and off their minimum."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Exponential, Laplace, Normal, kl_divergence
from torch.testing import assert_close

from wkd_det.ops.divergences import exponential_kl, gaussian_kl, laplace_kl

EXACT = dict(rtol=1e-12, atol=1e-12)  # a dozen float64 operations


def numbers(count, *, positive=False, seed=0):
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed)).double()
    return values.exp() if positive else values


ARGUMENTS = (
    numbers(20),
    numbers(20, positive=True, seed=1),
    numbers(20, seed=2),
    numbers(20, positive=True, seed=3),
)


def test_gaussian():
    mean, variance, other_mean, other_variance = ARGUMENTS
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(other_mean, other_variance**0.5))
    assert_close(gaussian_kl(*ARGUMENTS), expected, **EXACT)


def test_laplace():
    mean, scale, other_mean, other_scale = ARGUMENTS
    expected = kl_divergence(Laplace(mean, scale), Laplace(other_mean, other_scale))
    assert_close(laplace_kl(*ARGUMENTS), expected, **EXACT)


def test_exponential():
    _, rate, _, other_rate = ARGUMENTS
    expected = kl_divergence(Exponential(rate), Exponential(other_rate))
    assert_close(exponential_kl(rate, other_rate), expected, **EXACT)


@pytest.mark.parametrize('function', [gaussian_kl, laplace_kl])
def test_zero_with_gradient_zero_at_equality(function):
    mean, spread = ARGUMENTS[0].clone().requires_grad_(), ARGUMENTS[1].clone().requires_grad_()
    value = function(ARGUMENTS[0], ARGUMENTS[1], mean, spread)
    assert_close(value, torch.zeros_like(value), **EXACT)
    for grad in torch.autograd.grad(value.sum(), (mean, spread)):
        assert_close(grad, torch.zeros_like(grad), **EXACT)


def test_gradcheck():
    arguments = [value.clone().requires_grad_() for value in ARGUMENTS]
    assert torch.autograd.gradcheck(gaussian_kl, arguments)
    assert torch.autograd.gradcheck(laplace_kl, arguments)
    assert torch.autograd.gradcheck(exponential_kl, arguments[1::2])
