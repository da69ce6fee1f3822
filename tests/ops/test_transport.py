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

from wkd_det.ops.transport import sinkhorn_cost, sinkhorn_plan

DOMAINS = pytest.mark.parametrize('log_domain', [False, True], ids=['plain', 'log'])
FEW = settings(max_examples=25, deadline=None, derandomize=True)

# Some hundred float64 operations.
EXACT = dict(rtol=1e-10, atol=1e-12)
# The guard of 1e-8 on sums that are above 1e-3 in these problems, over a dozen divisions.
GUARD = dict(rtol=1e-4, atol=1e-7)


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
        # 500 rounds leave less than 1e-7; the guard takes 1.4e-4 off where epsilon is 0.05.
        expected = float((plan * cost.numpy()).sum())
        assert value[sample].item() == pytest.approx(expected, rel=1e-6 if log_domain else 3e-4)


@DOMAINS
def test_plan_of_pot_with_zero_entries_and_unsymmetric_cost(log_domain):
    source, target = histograms(1, 6, seed=1), histograms(1, 6, seed=2)
    source[0, [0, 3]], target[0, [0, 5]] = 0, 0
    source, target = source / source.sum(), target / target.sum()
    cost = torch.rand(6, 6, dtype=torch.float64)
    rows, columns = source[0] > 0, target[0] > 0  # POT divides by the marginals
    part = cost[rows][:, columns].numpy()
    plan = ot.sinkhorn(
        source[0, rows].numpy(),
        target[0, columns].numpy(),
        part,
        0.3,
        numItermax=5000,
        stopThr=1e-14,
    )
    value = sinkhorn_cost(
        source, target, cost, epsilon=0.3, num_iters=200, log_domain=log_domain
    ).item()
    # The kernel is above exp(-1/0.3) = 0.04, so the guard weighs below 1e-6.
    assert value == pytest.approx(float((plan * part).sum()), rel=1e-6)


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
    assert torch.isfinite(source.grad).all()
    exact = [
        ot.emd2(normalised(s), normalised(t), cost.double().numpy())
        for s, t in zip(source.detach(), target)
    ]
    gap = value.detach().double() - torch.tensor(exact, dtype=torch.float64)
    # The entropic gap is at most epsilon 2 log C = 4e-3. From below only the column marginals,
    # which 1500 rounds leave off by about 1e-4, and float32.
    assert gap.min() >= -5e-4
    assert gap.max() <= 4e-3


def normalised(histogram):
    """Float64 histogram that sums to 1 as exactly as POT wants it."""
    histogram = histogram.double().numpy()
    return histogram / histogram.sum()


@DOMAINS
def test_independent_plan_as_epsilon_grows(log_domain):
    source, target, cost = histograms(4, 6, seed=3), histograms(4, 6, seed=4), distances(6)
    value = sinkhorn_cost(source, target, cost, epsilon=1e9, log_domain=log_domain)
    # Off by cost / epsilon = 1e-9 and, in the plain domain, by the guard.
    assert_close(value, ((source @ cost) * target).sum(dim=1), rtol=1e-6, atol=0)


# Convention


@DOMAINS
def test_epsilon_and_result_carry_the_unit_of_the_cost(log_domain):
    source, target, cost = histograms(3, 5, seed=1), histograms(3, 5, seed=2), distances(5)
    value = sinkhorn_cost(source, target, cost, epsilon=0.2, log_domain=log_domain)
    scaled = sinkhorn_cost(source, target, 7 * cost, epsilon=7 * 0.2, log_domain=log_domain)
    assert_close(scaled, 7 * value, **EXACT)


@DOMAINS
def test_rows_of_the_cost_belong_to_the_source(log_domain):
    cost = torch.tensor([[0.0, 0.3], [0.9, 0.0]], dtype=torch.float64)
    first, second = one_hot(0, classes=2), one_hot(1, classes=2)
    there = sinkhorn_cost(first, second, cost, epsilon=0.5, log_domain=log_domain)
    back = sinkhorn_cost(second, first, cost, epsilon=0.5, log_domain=log_domain)
    assert_close(torch.cat([there, back]), torch.tensor([0.3, 0.9]).double(), **GUARD)


@DOMAINS
def test_a_histogram_costs_more_than_nothing_against_itself(log_domain):
    source = histograms(3, 5)
    value = sinkhorn_cost(source, source, distances(5), epsilon=0.2, log_domain=log_domain)
    assert (value > 0.01).all()


@DOMAINS
def test_row_marginals_are_exact_after_one_round(log_domain):
    # With the cost of row i equal to r_i, <P, C> = sum r_i (row marginal of P)_i.
    source, target = histograms(3, 5, seed=1), histograms(3, 5, seed=2)
    per_row = torch.arange(1.0, 6.0, dtype=torch.float64)
    cost = per_row[:, None].expand(5, 5) / 10
    value = sinkhorn_cost(source, target, cost, epsilon=0.5, num_iters=1, log_domain=log_domain)
    assert_close(value, source @ per_row / 10, **GUARD)


def test_the_guard_of_the_plain_domain_as_the_docstring_says():
    cost = 1 - torch.eye(10, dtype=torch.float64)
    first, second = one_hot(0, classes=10), one_hot(1, classes=10)
    for parts, lost in ((10, 0.0), (20, 0.08), (30, 0.10), (40, 0.96)):
        plain = sinkhorn_cost(first, second, cost, epsilon=1 / parts).item()
        log = sinkhorn_cost(first, second, cost, epsilon=1 / parts, log_domain=True).item()
        assert plain == pytest.approx(1 - lost, abs=0.01)  # the docstring rounds to percents
        assert log == pytest.approx(1, rel=1e-10)  # nothing but rounding


@DOMAINS
def test_a_class_outside_the_support_and_without_mass_has_no_influence(log_domain):
    source, target, cost = histograms(4, 6, seed=1), histograms(4, 6, seed=2), distances(7)
    alone = sinkhorn_cost(source, target, cost[:6, :6], epsilon=0.05, log_domain=log_domain)
    support = torch.ones(4, 7, dtype=torch.bool)
    support[:, 6] = False
    pad = torch.nn.functional.pad
    for entry in (0.0, 0.5, 40.0):
        cost[6, :6] = cost[:6, 6] = entry
        beside = sinkhorn_cost(
            pad(source, (0, 1)),
            pad(target, (0, 1)),
            cost,
            epsilon=0.05,
            log_domain=log_domain,
            support=support,
        )
        assert_close(beside, alone, **EXACT)


@DOMAINS
def test_without_support_such_a_class_does_take_part_in_the_first_round(log_domain):
    source, target, cost = histograms(4, 6, seed=1), histograms(4, 6, seed=2), distances(7)
    pad = torch.nn.functional.pad
    arguments = dict(epsilon=0.5, num_iters=1, log_domain=log_domain)
    alone = sinkhorn_cost(source, target, cost[:6, :6], **arguments)
    beside = sinkhorn_cost(pad(source, (0, 1)), pad(target, (0, 1)), cost, **arguments)
    assert (alone - beside).abs().max() > 1e-3


# Gradients


@DOMAINS
def test_gradcheck(log_domain):
    source = histograms(2, 4, seed=1).requires_grad_()
    target = histograms(2, 4, seed=2).requires_grad_()
    cost = (distances(4) + 0.1).requires_grad_()

    def function(source, target, cost):
        return sinkhorn_cost(source, target, cost, epsilon=0.3, num_iters=4, log_domain=log_domain)

    assert torch.autograd.gradcheck(function, (source, target, cost))


@DOMAINS
def test_gradcheck_where_entries_are_zero(log_domain):
    """Masses come from a softmax over a part of the classes, as in the separated form."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    other = torch.randn(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    support = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 0, 1, 1], [0, 0, 0, 1, 0]]).bool()

    def function(logits, other):
        source = logits.masked_fill(~support, -torch.inf).softmax(dim=1)
        target = other.masked_fill(~support, -torch.inf).softmax(dim=1)
        return sinkhorn_cost(
            source,
            target,
            distances(5),
            epsilon=0.3,
            num_iters=4,
            log_domain=log_domain,
            support=support,
        )

    assert torch.autograd.gradcheck(function, (logits, other))


def costs_with_zeros(classes=4, samples=None):
    """Distances with the usual zero diagonal and another pair that costs nothing."""
    costs = torch.stack([distances(classes, seed=seed) for seed in range(samples or 1)])
    costs[:, 1, 3] = 0
    return costs if samples else costs[0]


@DOMAINS
@pytest.mark.parametrize('samples', [None, 2], ids=['shared', 'own'])
def test_gradcheck_where_costs_are_zero(log_domain, samples):
    source = histograms(2, 4, seed=1).requires_grad_()
    target = histograms(2, 4, seed=2).requires_grad_()
    cost = costs_with_zeros(samples=samples).requires_grad_()

    def function(source, target, cost):
        return sinkhorn_cost(source, target, cost, epsilon=0.3, num_iters=4, log_domain=log_domain)

    assert torch.autograd.gradcheck(function, (source, target, cost))


@DOMAINS
def test_gradient_of_the_cost_is_the_plan_where_the_plan_is_given(log_domain):
    """A source of one point leaves no choice: the plan is that row, also where the cost is 0."""
    source, target = one_hot(1, 3, classes=4), histograms(2, 4)
    cost = costs_with_zeros().requires_grad_()
    sinkhorn_cost(source, target, cost, epsilon=0.5, log_domain=log_domain).sum().backward()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[[1, 3]] = target
    assert_close(cost.grad, expected, **GUARD)


@pytest.mark.parametrize('zeros', ['diagonal', 'all'])
def test_both_domains_have_the_same_gradient_of_the_cost(zeros):
    gradients = []
    for log_domain in (False, True):
        cost = (costs_with_zeros(8) * (zeros != 'all')).requires_grad_()
        value = sinkhorn_cost(
            histograms(5, 8, seed=1), histograms(5, 8, seed=2), cost, epsilon=0.5,
            log_domain=log_domain,
        )  # fmt: skip
        gradients += torch.autograd.grad(value.sum(), cost)
    # The kernel is above exp(-2), so the guard of 1e-8 is all that differs.
    assert_close(*gradients, rtol=1e-5, atol=1e-6)
    assert (gradients[1].diagonal() != 0).all()


def test_a_mass_of_zero_has_no_gradient_in_the_log_domain():
    source = one_hot(0, 2, classes=4).requires_grad_()
    target = histograms(2, 4)
    sinkhorn_cost(source, target, distances(4), epsilon=0.5, log_domain=True).sum().backward()
    assert (source.grad[source.detach() == 0] == 0).all()
    assert torch.isfinite(source.grad).all()


def test_both_domains_have_the_same_gradient():
    gradients = []
    for log_domain in (False, True):
        source = histograms(5, 8, seed=1).requires_grad_()
        target = histograms(5, 8, seed=2).requires_grad_()
        sinkhorn_cost(
            source, target, distances(8), epsilon=0.5, log_domain=log_domain
        ).sum().backward()
        gradients.append(torch.cat([source.grad, target.grad]))
    # The kernel is above exp(-2), so the guard of 1e-8 is all that differs.
    assert_close(*gradients, rtol=1e-5, atol=1e-6)


@DOMAINS
def test_saturated_histograms_have_finite_gradients(log_domain):
    source = one_hot(0, 1, 2, 0, classes=4).float().requires_grad_()
    target = one_hot(0, 0, 3, 3, classes=4).float().requires_grad_()
    value = sinkhorn_cost(
        source, target, distances(4, dtype=torch.float32), epsilon=0.05, log_domain=log_domain
    )
    value.sum().backward()
    for tensor in (value, source.grad, target.grad):
        assert torch.isfinite(tensor).all()


# Types


@DOMAINS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_equals_float32_of_the_rounded_input(log_domain, dtype):
    source, target, cost = (
        tensor.to(dtype) for tensor in (histograms(3, 5), histograms(3, 5, seed=1), distances(5))
    )
    value = sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain)
    expected = sinkhorn_cost(
        source.float(), target.float(), cost.float(), epsilon=0.1, log_domain=log_domain
    )
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@DOMAINS
def test_autocast_changes_nothing(log_domain):
    source, target = histograms(3, 5).float(), histograms(3, 5, seed=1).float()
    cost = distances(5).float()
    expected = sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


# Properties


@DOMAINS
@FEW
@given(
    samples=st.integers(0, 5),
    classes=st.integers(1, 9),
    seed=st.integers(0, 99),
    epsilon=st.sampled_from([0.05, 0.3, 2.0]),
    spread=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_any_shape_stays_within_the_range_of_the_cost(
    log_domain, samples, classes, seed, epsilon, spread
):
    cost = distances(classes, seed=seed) if classes > 1 else torch.zeros(1, 1).double()
    source = histograms(samples, classes, seed=seed, spread=spread).requires_grad_()
    target = histograms(samples, classes, seed=seed + 1, spread=spread)
    value = sinkhorn_cost(source, target, cost, epsilon=epsilon, log_domain=log_domain)
    assert value.shape == (samples,)
    # Row marginals sum to 1, entries are positive: 1e-9 is for rounding.
    assert (value >= 0).all()
    assert (value <= cost.max() + 1e-9).all()
    value.sum().backward()
    assert torch.isfinite(source.grad).all()


@DOMAINS
@FEW
@given(classes=st.integers(2, 7), seed=st.integers(0, 99))
def test_order_of_samples_and_classes_and_company_do_not_matter(log_domain, classes, seed):
    source, target = histograms(4, classes, seed=seed), histograms(4, classes, seed=seed + 1)
    cost = distances(classes, seed=seed)

    def transport(source, target, cost):
        return sinkhorn_cost(source, target, cost, epsilon=0.1, log_domain=log_domain)

    value = transport(source, target, cost)
    rows, columns = torch.randperm(4), torch.randperm(classes)
    assert_close(transport(source[rows], target[rows], cost), value[rows], **EXACT)
    moved = transport(source[:, columns], target[:, columns], cost[columns][:, columns])
    assert_close(moved, value, **EXACT)
    assert_close(transport(source[:1], target[:1], cost), value[:1], **EXACT)


# A cost for each sample


@DOMAINS
def test_a_cost_for_each_sample_is_that_of_each_alone(log_domain):
    source, target = histograms(3, 5), histograms(3, 5, seed=1)
    costs = torch.stack([distances(5, seed=seed) for seed in range(3)])
    costs[0, 0, 1] = 0.3  # no symmetry needed
    costs.requires_grad_()
    options = dict(epsilon=0.2, log_domain=log_domain)
    values = sinkhorn_cost(source, target, costs, **options)
    (grad,) = torch.autograd.grad(values.sum(), costs)
    for index in range(3):
        cost = costs[index].detach().requires_grad_()
        rows = slice(index, index + 1)
        alone = sinkhorn_cost(source[rows], target[rows], cost, **options)
        assert_close(values[rows], alone, **EXACT)
        assert_close(grad[index], torch.autograd.grad(alone.sum(), cost)[0], **EXACT)


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(source=torch.ones(3)), r'share a shape \(N, C\), got \(3,\) and \(2, 3\)'),
        (dict(source=torch.ones(1, 3)), r'share a shape \(N, C\), got \(1, 3\) and \(2, 3\)'),
        (dict(cost=torch.ones(3, 4)), r'cost must have the shape .* = \(3, 3\), got \(3, 4\)'),
        (dict(cost=torch.ones(4, 3, 3)), r'N = 2, .* got \(4, 3, 3\)'),
        (dict(epsilon=0.0), 'epsilon must be positive, got 0.0'),
        (dict(epsilon=-1.0), 'epsilon must be positive, got -1.0'),
        (dict(epsilon=math.nan), 'epsilon must be positive, got nan'),
        (dict(num_iters=0), 'num_iters must be an integer of at least 1, got 0'),
        (dict(support=torch.ones(2, 2, dtype=torch.bool)), r'support must be bool .*\(2, 2\)'),
        (dict(support=torch.ones(2, 3)), 'support must be bool .* got torch.float32'),
    ],
)
def test_wrong_arguments(change, message):
    arguments = dict(
        source=torch.ones(2, 3) / 3, target=torch.ones(2, 3) / 3, cost=torch.ones(3, 3), epsilon=1.0
    )
    with pytest.raises(ValueError, match=message):
        sinkhorn_cost(**(arguments | change))


# The plan


@DOMAINS
@pytest.mark.parametrize('shared', [True, False], ids=['shared', 'own'])
def test_plan_is_the_one_that_costs(log_domain, shared):
    source, target, cost = histograms(5, 4), histograms(5, 4, seed=1), distances(4)
    if not shared:
        cost = torch.stack([distances(4, seed=seed) for seed in range(5)])
    options = dict(epsilon=0.2, num_iters=7, log_domain=log_domain)
    plan = sinkhorn_plan(source, target, cost, **options)
    assert plan.shape == (5, 4, 4)
    assert_close((plan * cost).sum((1, 2)), sinkhorn_cost(source, target, cost, **options))
    for index in range(5):
        own = (cost if shared else cost[index]).numpy()
        guard = 0.0 if log_domain else 1e-8
        expected = naive_plan(source[index].numpy(), target[index].numpy(), own, 0.2, 7, guard)
        assert_close(plan[index], torch.from_numpy(expected), **EXACT)


@DOMAINS
def test_plan_has_the_marginals_and_no_gradient(log_domain):
    source, target = histograms(3, 5).requires_grad_(True), histograms(3, 5, seed=1)
    plan = sinkhorn_plan(
        source, target, distances(5), epsilon=0.2, num_iters=200, log_domain=log_domain
    )
    assert not plan.requires_grad
    assert_close(plan.sum(2), source.detach(), rtol=1e-5, atol=1e-7)
    assert_close(plan.sum(1), target, rtol=1e-5, atol=1e-7)


def test_plan_checks_its_arguments():
    half = torch.full((1, 2), 0.5)
    with pytest.raises(ValueError, match='epsilon must be positive, got 0'):
        sinkhorn_plan(half, half, 1 - torch.eye(2), epsilon=0)


# Autocast


@pytest.mark.parametrize('shared', [True, False], ids=['shared', 'own'])
def test_gradient_of_the_cost_inside_autocast(shared):
    """Nothing of it is a float32 product that autocast could round."""
    source, target = (histograms(4, 5, seed=seed, dtype=torch.float32) for seed in (0, 1))
    cost = distances(5, dtype=torch.float32)
    cost = (cost if shared else cost.expand(4, 5, 5).clone()).requires_grad_(True)
    found = []
    for enabled in (False, True):
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            value = sinkhorn_cost(source, target, cost, epsilon=0.2).sum()
            found.append(torch.autograd.grad(value, cost)[0])
    assert torch.equal(*found)
