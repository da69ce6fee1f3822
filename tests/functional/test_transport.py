"""Sinkhorn: closed forms, POT as the oracle, the exact LP as the limit."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from wkd_det.functional import sinkhorn_cost

DOMAINS = pytest.mark.parametrize('log_domain', [False, True], ids=['plain', 'log'])
FEW = settings(max_examples=25, deadline=None, derandomize=True)

# Some hundred float64 operations.
EXACT = dict(rtol=1e-10, atol=1e-12)
# The guard of 1e-8 on sums that are above 1e-3 in these problems, over a dozen divisions.
GUARD = dict(rtol=1e-4, atol=1e-7)
# Float32 rounding (6e-8) over ten rounds of divisions.
FLOAT32 = dict(rtol=1e-5, atol=1e-6)


def histograms(samples, classes, *, seed=0, spread=1.0, dtype=torch.float64):
    """Softmaxes of normal logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, generator=generator, dtype=torch.float64)
    return (spread * logits).softmax(dim=1).to(dtype)


def distances(classes, *, seed=0, dtype=torch.float64):
    """Distances of random points, the largest 1: symmetric, zero diagonal."""
    points = torch.rand(
        classes, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    distance = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    return (distance / distance.max()).to(dtype)


def naive_plan(source, target, cost, epsilon, num_iters, guard):
    """One sample: the rounds of the reference, the plan written out, in numpy."""
    kernel = np.exp(-cost / epsilon)
    row = np.full(len(source), 1 / len(source))
    for _ in range(num_iters):
        column = target / (kernel.T @ row + guard)
        row = source / (kernel @ column + guard)
    return row[:, None] * kernel * column[None]


def one_hot(*index, classes):
    return torch.eye(classes, dtype=torch.float64)[list(index)]


# Closed form


@DOMAINS
@pytest.mark.parametrize('epsilon', [0.1, 0.5, 1.0, 10.0])
def test_two_equal_bins(log_domain, epsilon):
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    cost = 1 - torch.eye(2, dtype=torch.float64)
    value = sinkhorn_cost(half, half, cost, epsilon=epsilon, log_domain=log_domain)
    # The guard changes sums of about 1/2 by 2e-8.
    assert value.item() == pytest.approx(1 / (1 + math.exp(1 / epsilon)), rel=1e-6)


@DOMAINS
def test_a_point_mass_can_only_go_where_the_target_is(log_domain):
    cost, target = distances(5), histograms(3, 5)
    value = sinkhorn_cost(
        one_hot(0, 2, 4, classes=5), target, cost, epsilon=0.5, log_domain=log_domain
    )
    assert_close(value, (cost[[0, 2, 4]] * target).sum(dim=1), **GUARD)


@DOMAINS
def test_one_class_costs_its_diagonal(log_domain):
    one = torch.ones(2, 1, dtype=torch.float64)
    for diagonal in (0.0, 0.3):
        cost = torch.full((1, 1), diagonal, dtype=torch.float64)
        value = sinkhorn_cost(one, one, cost, epsilon=1.0, log_domain=log_domain)
        assert_close(value, diagonal * one[:, 0], **GUARD)


# Independent oracle


@DOMAINS
@pytest.mark.parametrize('epsilon', [0.05, 0.2, 1.0])
def test_converged_plan_of_pot(log_domain, epsilon):
    source, target, cost = histograms(4, 9, seed=1), histograms(4, 9, seed=2), distances(9)
    value = sinkhorn_cost(
        source, target, cost, epsilon=epsilon, num_iters=500, log_domain=log_domain
    )
    for sample in range(4):
        plan = ot.sinkhorn(
            source[sample].numpy(),
            target[sample].numpy(),
            cost.numpy(),
            epsilon,
            numItermax=20000,
            stopThr=1e-14,
        )
        # 500 rounds leave less than 1e-7 here; the guard, in the plain domain, 2e-5.
        expected = float((plan * cost.numpy()).sum())
        assert value[sample].item() == pytest.approx(expected, rel=1e-6 if log_domain else 1e-4)


@DOMAINS
def test_plan_of_pot_with_zero_entries_and_unsymmetric_cost(log_domain):
    source, target = histograms(1, 6, seed=1), histograms(1, 6, seed=2)
    source[0, [0, 3]], target[0, [0, 5]] = 0, 0
    source, target = source / source.sum(), target / target.sum()
    cost = torch.rand(6, 6, dtype=torch.float64)
    plan = ot.sinkhorn(
        source[0].numpy(), target[0].numpy(), cost.numpy(), 0.3, numItermax=5000, stopThr=1e-14
    )
    value = sinkhorn_cost(
        source, target, cost, epsilon=0.3, num_iters=200, log_domain=log_domain
    ).item()
    # The kernel is above exp(-1/0.3) = 0.04, so the guard weighs below 1e-6.
    assert value == pytest.approx(float((plan * cost.numpy()).sum()), rel=1e-6)


@pytest.mark.parametrize('num_iters', [1, 3, 10])
@pytest.mark.parametrize('guard', [1e-8, 0.0], ids=['plain', 'log'])
def test_every_round_is_that_of_the_plan_written_out(num_iters, guard):
    source, target, cost = histograms(3, 7, seed=1), histograms(3, 7, seed=2), distances(7)
    value = sinkhorn_cost(
        source, target, cost, epsilon=0.05, num_iters=num_iters, log_domain=guard == 0
    )
    for sample in range(3):
        plan = naive_plan(
            source[sample].numpy(), target[sample].numpy(), cost.numpy(), 0.05, num_iters, guard
        )
        # The same formula in float64.
        assert value[sample].item() == pytest.approx((plan * cost.numpy()).sum(), rel=1e-10)


# Limit


def test_exact_transport_as_epsilon_vanishes_never_from_below():
    source, target, cost = histograms(4, 6, seed=3), histograms(4, 6, seed=4), distances(6)
    exact = torch.tensor(
        [ot.emd2(s.numpy(), t.numpy(), cost.numpy()) for s, t in zip(source, target)],
        dtype=torch.float64,
    )
    previous = torch.full_like(exact, torch.inf)
    for epsilon, num_iters in ((1.0, 100), (0.1, 300), (0.01, 2000)):
        value = sinkhorn_cost(
            source, target, cost, epsilon=epsilon, num_iters=num_iters, log_domain=True
        )
        assert (value >= exact - 1e-9).all()  # what the column marginals still miss
        assert (value <= previous + 1e-9).all()
        # <P, C> - epsilon H(P) is least at P, and entropies of plans lie in [0, 2 log C].
        assert (value <= exact + epsilon * 2 * math.log(6)).all()
        previous = value


def test_a_thousandth_of_the_range_in_float32_is_finite_and_near_the_exact_cost():
    source = histograms(4, 6, seed=3, dtype=torch.float32).requires_grad_()
    target, cost = histograms(4, 6, seed=4, dtype=torch.float32), distances(6, dtype=torch.float32)
    epsilon = 1e-3 * cost.max().item()
    value = sinkhorn_cost(source, target, cost, epsilon=epsilon, num_iters=1500, log_domain=True)
    value.sum().backward()
    exact = [
        ot.emd2(s, t, cost.double().numpy())
        for s, t in zip(
            (x.double() / x.double().sum()).numpy() for x in source.detach()),
            ((x.double() / x.double().sum()).numpy() for x in target),
        )
    ] if False else [
        ot.emd2(normalised(s), normalised(t), cost.double().numpy())
        for s, t in zip(source.detach(), target)
    ]
    assert torch.isfinite(source.grad).all()
    # The entropic gap, epsilon 2 log C = 4e-3, is the bound; below it only float32 may fall.
    assert (value.detach().double() >= torch.tensor(exact) - 1e-4).all()
    assert (value.detach().double() <= torch.tensor(exact) + 4e-3).all()
