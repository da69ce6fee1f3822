"""Variants of WKD-L: debiased, weighed by the non-target mass, standardised, joint."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.losses.wkd_logit import (
    WKDLogitLoss,
    transported_histograms,
    wkd_logit_loss,
)
from wkd_det.ops.logits import standardize_logits, target_loss
from wkd_det.ops.transport import sinkhorn_cost, sinkhorn_divergence

DOMAINS = pytest.mark.parametrize('log_domain', [False, True], ids=['plain', 'log'])
FORMS = pytest.mark.parametrize('separated', [True, False], ids=['separated', 'joint'])
VARIANTS = pytest.mark.parametrize(
    'options',
    [
        dict(debiased=True),
        dict(weigh_by_non_target=True),
        dict(standardize=True),
        dict(debiased=True, weigh_by_non_target=True, standardize=True),
    ],
    ids=['debiased', 'weighed', 'standardised', 'all'],
)

# The same formula in float64, in another order of summation.
EXACT = dict(rtol=1e-10, atol=1e-12)


def problem(samples=4, classes=6, *, seed=0, scale=2.0):
    """Student, teacher, cost and target; the cost is symmetric with a zero diagonal."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(
        2, samples, classes, generator=generator, dtype=torch.float64
    )
    points = torch.rand(classes, 3, generator=generator, dtype=torch.float64)
    cost = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist') / 2
    return student, teacher, cost, torch.randint(classes, (samples,), generator=generator)


# Closed form


@DOMAINS
def test_debiased_joint_form_of_equal_networks_is_nothing(log_domain):
    student, teacher, cost, _ = problem()
    student = (teacher + torch.tensor([[1.0], [2.0], [-1.0], [0.0]])).requires_grad_()
    value = wkd_logit_loss(
        student, teacher, cost, temperature=2.0, log_domain=log_domain, debiased=True
    )
    (gradient,) = torch.autograd.grad(value, student)
    assert_close(value, torch.zeros_like(value), **EXACT)
    assert_close(gradient, torch.zeros_like(gradient), **EXACT)


@DOMAINS
def test_debiased_separated_form_of_equal_networks_is_the_target_part(log_domain):
    _, teacher, cost, target = problem()
    student = teacher.clone().requires_grad_()
    options = dict(temperature=2.0, log_domain=log_domain)
    value = wkd_logit_loss(student, teacher, cost, target, debiased=True, **options)
    expected = target_loss(student, teacher, target).mean()
    assert_close(value, expected, **EXACT)
    gradients = [torch.autograd.grad(loss, student)[0] for loss in (value, expected)]
    assert_close(*gradients, **EXACT)
    biased = wkd_logit_loss(student, teacher, cost, target, **options)
    assert biased > value + 1e-3


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_each_transport_counts_by_the_non_target_mass_at_the_temperature(temperature):
    student, teacher, cost, target = problem()
    rows = torch.arange(len(target))
    mass = 1 - (teacher / temperature).softmax(dim=1)[rows, target]
    for sample, expected_mass in enumerate(mass):
        one = slice(sample, sample + 1)
        arguments = (student[one], teacher[one], cost, target[one])

        def transport(*arguments, **options):
            """The loss without its target part."""
            whole, without = (
                wkd_logit_loss(
                    *arguments, temperature=temperature, transport_weight=weight, **options
                )
                for weight in (3.0, 0.0)
            )
            return whole - without

        weighed = transport(*arguments, weigh_by_non_target=True)
        assert_close(weighed, expected_mass * transport(*arguments), **EXACT)


def test_a_certain_teacher_leaves_the_target_part():
    student, teacher, cost, target = problem()
    teacher = 1e3 * torch.nn.functional.one_hot(target, 6).double()
    options = dict(temperature=1.0, transport_weight=100.0)
    value = wkd_logit_loss(student, teacher, cost, target, weigh_by_non_target=True, **options)
    assert_close(value, target_loss(student, teacher, target).mean(), **EXACT)


def test_a_mass_below_the_rounding_of_one_is_kept():
    """In float32, ``1 - p`` of a teacher that is sure to 1e-9 would be 0."""
    student, _, cost, target = (tensor.float() for tensor in problem(1))
    target = target.long()
    teacher = torch.zeros(1, 6).scatter(1, target[:, None], 22.0)
    values = [
        wkd_logit_loss(
            student,
            teacher,
            cost,
            target,
            temperature=1.0,
            transport_weight=weight,
            weigh_by_non_target=True,
        )
        for weight in (1e12, 0.0)
    ]
    assert values[0] - values[1] > 1.0


# The functions of which they are made


@DOMAINS
@FORMS
def test_debiased_takes_the_divergence_of_the_same_histograms(separated, log_domain):
    student, teacher, cost, target = problem()
    target = target if separated else None
    source, goal, support = transported_histograms(student, teacher, target, 2.0)
    options = dict(epsilon=0.1, num_iters=4, log_domain=log_domain)
    divergence, distance = (
        function(source, goal, cost, support=support, **options)
        for function in (sinkhorn_divergence, sinkhorn_cost)
    )
    debiased, plain = (
        wkd_logit_loss(student, teacher, cost, target, temperature=2.0, debiased=flag, **options)
        for flag in (True, False)
    )
    assert_close(plain - debiased, (distance - divergence).mean(), **EXACT)


@DOMAINS
@FORMS
def test_standardised_logits_are_those_of_every_part(separated, log_domain):
    student, teacher, cost, target = problem()
    target = target if separated else None
    options = dict(temperature=2.0, log_domain=log_domain)
    value = wkd_logit_loss(student, teacher, cost, target, standardize=True, **options)
    expected = wkd_logit_loss(
        standardize_logits(student), standardize_logits(teacher), cost, target, **options
    )
    assert_close(value, expected, **EXACT)
    scaled = wkd_logit_loss(
        3 * student + 1, 7 * teacher - 2, cost, target, standardize=True, **options
    )
    assert_close(scaled, value, rtol=1e-6, atol=1e-8)  # a guard of 1e-7 on the deviation


@DOMAINS
@pytest.mark.parametrize('weight', [1e-3, 0.5])
def test_the_joint_form_at_a_small_weight(log_domain, weight):
    """Nothing but the transport: value and gradient are the weight times those at 1."""
    student, teacher, cost, _ = problem()
    student.requires_grad_()
    losses = [
        wkd_logit_loss(
            student,
            teacher,
            cost,
            temperature=4.0,
            transport_weight=factor,
            log_domain=log_domain,
        )
        for factor in (weight, 1.0)
    ]
    small, whole = (torch.autograd.grad(loss, student)[0] for loss in losses)
    assert_close(losses[0], weight * losses[1], **EXACT)
    assert_close(small, weight * whole, **EXACT)
    assert whole.abs().max() > 1e-3
    assert_close(small.sum(dim=1), torch.zeros(4, dtype=torch.float64), **EXACT)


# Gradient


@DOMAINS
@VARIANTS
def test_gradcheck(options, log_domain):
    student, teacher, cost, target = problem(samples=3, classes=4)

    def function(student):
        return wkd_logit_loss(
            student,
            teacher,
            cost,
            target,
            temperature=1.5,
            transport_weight=2.0,
            epsilon=0.2,
            num_iters=4,
            log_domain=log_domain,
            **options,
        )

    assert torch.autograd.gradcheck(function, (student.requires_grad_(),))


@VARIANTS
def test_the_teacher_gets_no_gradient(options):
    student, teacher, cost, target = problem()
    student, teacher = student.requires_grad_(), teacher.requires_grad_()
    wkd_logit_loss(student, teacher, cost, target, temperature=1.0, **options).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


@pytest.mark.filterwarnings('ignore:std')  # of no samples
@VARIANTS
def test_no_samples_give_zero_with_a_graph(options):
    student = torch.zeros(0, 3, requires_grad=True)
    nobody = torch.zeros(0, dtype=torch.int64)
    value = wkd_logit_loss(
        student, torch.zeros(0, 3), 1 - torch.eye(3), nobody, temperature=1.0, **options
    )
    value.backward()
    assert value.item() == 0
    assert student.grad.shape == (0, 3)


# The module


@VARIANTS
def test_the_module_is_the_function_times_the_weight(options):
    student, teacher, cost, target = (
        tensor.float() if tensor.is_floating_point() else tensor for tensor in problem()
    )
    loss = WKDLogitLoss(cost=cost, sharpness=0, temperature=2.0, loss_weight=0.5, **options)
    expected = wkd_logit_loss(student, teacher, cost, target, temperature=2.0, **options)
    assert_close(loss(student, teacher, target), 0.5 * expected, rtol=1e-6, atol=1e-7)  # float32


def test_the_plan_of_a_debiased_loss_leads_from_student_to_teacher():
    student, teacher, cost, target = problem()
    plans = [
        WKDLogitLoss(cost=cost, debiased=flag).plan(student, teacher, target)
        for flag in (True, False)
    ]
    assert torch.equal(*plans)


# Errors

NEEDS_TARGET = '^weigh_by_non_target needs a target: the joint form sets no class apart$'


def test_no_target_no_non_target_mass():
    student, teacher, cost, _ = problem()
    with pytest.raises(ValueError, match=NEEDS_TARGET):
        wkd_logit_loss(student, teacher, cost, temperature=1.0, weigh_by_non_target=True)
    with pytest.raises(ValueError, match=NEEDS_TARGET):
        WKDLogitLoss(cost=cost, separated=False, weigh_by_non_target=True)
