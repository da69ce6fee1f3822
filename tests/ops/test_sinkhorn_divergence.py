"""Debiased transport: nothing for equal histograms, POT as the oracle, MMD as the limit."""

from __future__ import annotations

import math

import ot
import pytest
import torch
from torch.testing import assert_close

from wkd_det.ops.transport import sinkhorn_cost, sinkhorn_divergence

DOMAINS = pytest.mark.parametrize('log_domain', [False, True], ids=['plain', 'log'])

# Some hundred float64 operations, and differences of numbers of about 1.
EXACT = dict(rtol=1e-10, atol=1e-12)


def problem(samples=5, classes=6, *, seed=0):
    """Two histograms and a symmetric cost with a zero diagonal, the largest 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    points = torch.rand(classes, 3, generator=generator, dtype=torch.float64)
    cost = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    return *logits.softmax(dim=2), cost / cost.max()


# Closed form


@DOMAINS
def test_certain_histograms_pay_the_cost_between_their_classes(log_domain):
    """A histogram on one class costs nothing against itself, so nothing is taken off."""
    one_hot = torch.eye(4, dtype=torch.float64)
    cost = problem(classes=4)[2]
    value = sinkhorn_divergence(
        one_hot[[0, 1]], one_hot[[2, 3]], cost, epsilon=0.2, log_domain=log_domain
    )
    # The guard of 1e-8 on sums above exp(-1 / 0.2).
    assert_close(value, torch.stack([cost[0, 2], cost[1, 3]]), rtol=1e-4, atol=1e-6)


@DOMAINS
@pytest.mark.parametrize('num_iters', [1, 3, 10])
@pytest.mark.parametrize('epsilon', [0.05, 1.0])
def test_equal_histograms_cost_nothing_and_have_no_gradient(log_domain, num_iters, epsilon):
    source, _, cost = problem()
    target = source.clone()
    source.requires_grad_()
    options = dict(epsilon=epsilon, num_iters=num_iters, log_domain=log_domain)
    value = sinkhorn_divergence(source, target, cost, **options)
    (gradient,) = torch.autograd.grad(value.sum(), source)
    assert_close(value, torch.zeros_like(value), **EXACT)
    assert_close(gradient, torch.zeros_like(gradient), **EXACT)
    biased = sinkhorn_cost(source, target, cost, **options)
    assert (biased > 1e-6).all()
    assert torch.autograd.grad(biased.sum(), source)[0].abs().max() > 1e-3


# Independent oracle


@DOMAINS
@pytest.mark.parametrize('epsilon', [0.1, 0.5])
def test_converged_plans_of_pot(log_domain, epsilon):
    source, target, cost = problem(3)

    def oracle(first, second):
        plan = ot.sinkhorn(
            first.numpy(), second.numpy(), cost.numpy(), epsilon, numItermax=20000, stopThr=1e-14
        )
        return float((plan * cost.numpy()).sum())

    value = sinkhorn_divergence(
        source, target, cost, epsilon=epsilon, num_iters=2000, log_domain=log_domain
    )
    for sample, (own, other) in enumerate(zip(source, target)):
        expected = oracle(own, other) - oracle(own, own) / 2 - oracle(other, other) / 2
        # The guard of 1e-8 on sums above exp(-1 / 0.1).
        assert value[sample].item() == pytest.approx(expected, rel=1e-6 if log_domain else 1e-3)


@DOMAINS
def test_every_round_counts_in_both_directions(log_domain):
    source, target, cost = problem()
    options = dict(epsilon=0.1, num_iters=2, log_domain=log_domain)
    parts = [
        sinkhorn_cost(first, second, cost, **options)
        for first, second in (
            (source, target),
            (target, source),
            (source, source),
            (target, target),
        )
    ]
    assert (parts[0] - parts[1]).abs().max() > 1e-4  # two rounds favour one side
    expected = (parts[0] + parts[1] - parts[2] - parts[3]) / 2
    value = sinkhorn_divergence(source, target, cost, **options)
    assert_close(value, expected, **EXACT)
    assert_close(sinkhorn_divergence(target, source, cost, **options), expected, **EXACT)


# Limit


@DOMAINS
def test_half_the_energy_distance_as_epsilon_grows(log_domain):
    source, target, cost = problem()
    change = source - target
    expected = -torch.einsum('ni,ij,nj->n', change, cost, change) / 2
    value = sinkhorn_divergence(source, target, cost, epsilon=1e4, log_domain=log_domain)
    assert (expected > 1e-3).all()
    assert_close(value, expected, rtol=1e-3, atol=0.0)  # of first order in 1 / epsilon


# Convention


@DOMAINS
def test_epsilon_and_result_carry_the_unit_of_the_cost(log_domain):
    source, target, cost = problem()
    one = sinkhorn_divergence(source, target, cost, epsilon=0.1, log_domain=log_domain)
    seven = sinkhorn_divergence(source, target, 7 * cost, epsilon=0.7, log_domain=log_domain)
    assert_close(seven, 7 * one, **EXACT)


@DOMAINS
def test_a_cost_for_each_sample_is_that_of_each_alone(log_domain):
    source, target, cost = problem()
    costs = cost * torch.arange(1, 6, dtype=torch.float64)[:, None, None]
    options = dict(epsilon=0.5, log_domain=log_domain)
    expected = [
        sinkhorn_divergence(source[[i]], target[[i]], costs[i], **options) for i in range(5)
    ]
    value = sinkhorn_divergence(source, target, costs, **options)
    assert_close(value, torch.cat(expected), **EXACT)


@DOMAINS
def test_a_class_outside_the_support_has_no_influence(log_domain):
    source, target, cost = problem(classes=5)
    options = dict(epsilon=0.1, num_iters=3, log_domain=log_domain)
    expected = sinkhorn_divergence(source, target, cost, **options)
    more = torch.rand(6, 6, dtype=torch.float64)
    more[:5, :5] = cost
    support = torch.ones(5, 6, dtype=torch.bool)
    support[:, 5] = False
    wide = [torch.nn.functional.pad(histogram, (0, 1)) for histogram in (source, target)]
    assert_close(sinkhorn_divergence(*wide, more, support=support, **options), expected, **EXACT)


# Gradient


@DOMAINS
@pytest.mark.parametrize('shared', [True, False])
def test_gradcheck(log_domain, shared):
    source, target, cost = problem(2, 3)
    cost = cost + 0.1  # no zeros: each entry may move
    arguments = (source, target, cost if shared else cost.repeat(2, 1, 1))
    assert torch.autograd.gradcheck(
        lambda *given: sinkhorn_divergence(*given, epsilon=0.4, num_iters=3, log_domain=log_domain),
        [tensor.requires_grad_() for tensor in arguments],
    )


# Types


def test_half_precision_is_computed_in_float32():
    source, target, cost = (tensor.half() for tensor in problem())
    value = sinkhorn_divergence(source, target, cost, epsilon=0.2)
    assert value.dtype == torch.float32
    floats = (tensor.float() for tensor in (source, target, cost))
    assert torch.equal(value, sinkhorn_divergence(*floats, epsilon=0.2))


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(target=torch.ones(2, 4)),
            r'source and target must share a shape \(N, C\), got \(2, 3\) and \(2, 4\)',
        ),
        (
            dict(cost=torch.ones(4, 4)),
            r'cost must have the shape \(N, C, C\), N = 2, or \(C, C\) = \(3, 3\), got \(4, 4\)',
        ),
        (dict(epsilon=0.0), r'epsilon must be positive, got 0\.0'),
        (dict(num_iters=0), 'num_iters must be an integer of at least 1, got 0'),
        (
            dict(support=torch.ones(2, 3)),
            r'support must be bool and have the shape \(2, 3\), got torch.float32 and \(2, 3\)',
        ),
    ],
)
def test_wrong_arguments(change, message):
    third = torch.full((2, 3), 1 / 3)
    arguments = dict(source=third, target=third, cost=1 - torch.eye(3), epsilon=1.0)
    with pytest.raises(ValueError, match=f'^{message}$'):
        sinkhorn_divergence(**(arguments | change))


def test_the_classes_of_the_reference_are_never_charged_less_than_nothing():
    """No theorem holds without the entropy; ten rounds at the usual epsilon keep to it."""
    source, target, cost = problem(200, 8)
    for epsilon in (0.05, 0.2, 1.0):
        value = sinkhorn_divergence(source, target, 1 - (-2 * cost).exp(), epsilon=epsilon)
        assert value.min() > -math.ulp(1.0)
