"""WKD-L: closed forms, the paper's formula sample by sample, the reference's own numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from measured_calls import LargestTensor, value_and_gradient
from wkd_det.losses.wkd_logit import wkd_logit_loss, wkd_transport_plan
from wkd_det.ops import scaling
from wkd_det.ops.transport import sinkhorn_cost

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
SEPARATED = [f'logit_separated_{index}' for index in range(5)]
JOINT = [f'logit_joint_{index}' for index in range(2)]
DOMAINS = pytest.mark.parametrize('log_domain', [False, True], ids=['plain', 'log'])
FORMS = pytest.mark.parametrize('separated', [True, False], ids=['separated', 'joint'])

# The same formula in float64, in another order of summation.
EXACT = dict(rtol=1e-10, atol=1e-12)
# The guard of 1e-8 on sums above 1e-3, over a dozen divisions.
GUARD = dict(rtol=1e-4, atol=1e-7)


def problem(samples=4, classes=6, *, seed=0, scale=2.0, dtype=torch.float64):
    """Student, teacher, cost and target; the cost is symmetric with a zero diagonal."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(
        2, samples, classes, generator=generator, dtype=torch.float64
    )
    points = torch.rand(classes, 3, generator=generator, dtype=torch.float64)
    cost = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    target = torch.randint(classes, (samples,), generator=generator)
    return student.to(dtype), teacher.to(dtype), (cost / 2).to(dtype), target


def naive_loss(
    student,
    teacher,
    cost,
    target=None,
    *,
    temperature,
    transport_weight=1.0,
    epsilon=0.05,
    num_iters=10,
    guard=1e-8,
):
    """The paper's formula: drop the target class, one cost per sample, the plan written out."""
    losses = []
    for sample in range(len(student)):
        kept = torch.arange(student.shape[1])
        loss = 0.0
        if target is not None:
            index = target[sample]
            kept = kept[kept != index]
            loss = -teacher[sample].softmax(0)[index] * student[sample].log_softmax(0)[index]
        p = (student[sample, kept] / temperature).softmax(0)
        q = (teacher[sample, kept] / temperature).softmax(0)
        own_cost = cost[kept][:, kept]
        kernel = torch.exp(-own_cost / epsilon)
        u = torch.full_like(p, 1 / len(kept))
        for _ in range(num_iters):
            v = q / (kernel.T @ u + guard)
            u = p / (kernel @ v + guard)
        plan = u[:, None] * kernel * v[None]
        losses.append(loss + transport_weight * (plan * own_cost).sum())
    return torch.stack(losses).mean()


# Closed form


@DOMAINS
def test_two_classes_of_which_one_is_the_target_leave_nothing_to_transport(log_domain):
    student = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    cost, target = 1 - torch.eye(2, dtype=torch.float64), torch.tensor([1, 0])
    value = wkd_logit_loss(
        student, teacher, cost, target, temperature=3.0, transport_weight=7.0, log_domain=log_domain
    )
    first = 0.5 * math.log(1 + math.exp(-1))
    second = 1 / (1 + math.e) * math.log(1 + math.exp(-2))
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-12)  # float64 rounding


@DOMAINS
def test_joint_form_of_two_equal_bins(log_domain):
    logits = torch.zeros(3, 2, dtype=torch.float64)
    cost = 1 - torch.eye(2, dtype=torch.float64)
    value = wkd_logit_loss(
        logits, logits, cost, temperature=1.0, epsilon=0.5, log_domain=log_domain
    )
    # The guard changes sums of about 1/2 by 2e-8.
    assert value.item() == pytest.approx(1 / (1 + math.exp(2)), rel=1e-6)


@DOMAINS
def test_certain_networks_pay_the_cost_between_their_classes(log_domain):
    student, teacher = 1e3 * torch.eye(4)[[1, 2]], 1e3 * torch.eye(4)[[2, 3]]
    cost = problem(classes=4, dtype=torch.float32)[2]
    value = wkd_logit_loss(
        student, teacher, cost, temperature=1.0, epsilon=0.2, log_domain=log_domain
    )
    assert_close(value, (cost[1, 2] + cost[2, 3]) / 2, **GUARD)


def test_no_transport_weight_leaves_the_target_term():
    student, teacher, cost, target = problem()
    value = wkd_logit_loss(student, teacher, cost, target, temperature=2.0, transport_weight=0.0)
    rows = torch.arange(4)
    expected = -(
        teacher.softmax(1)[rows, target] * student.log_softmax(1)[rows, target]
    ).mean()  # temperature 1
    assert_close(value, expected, **EXACT)


# Independent oracle


@FORMS
@pytest.mark.parametrize(
    'options',
    [
        dict(temperature=1.0),
        dict(temperature=8.0, transport_weight=600.0),
        dict(temperature=2.0, epsilon=0.3, num_iters=3, transport_weight=0.5),
    ],
)
def test_formula_of_the_paper_one_cost_per_sample(separated, options):
    student, teacher, cost, target = problem(samples=6, classes=7)
    target = target if separated else None
    ours = value_and_gradient(wkd_logit_loss, student, teacher, cost, target, **options)
    naive = value_and_gradient(naive_loss, student, teacher, cost, target, **options)
    for one, other in zip(ours, naive):
        assert_close(one, other, **EXACT)


@FORMS
def test_formula_of_the_paper_without_the_guard_in_the_log_domain(separated):
    student, teacher, cost, target = problem(samples=6, classes=7)
    target = target if separated else None
    ours = value_and_gradient(
        wkd_logit_loss, student, teacher, cost, target, temperature=2.0, log_domain=True
    )
    naive = value_and_gradient(
        naive_loss, student, teacher, cost, target, temperature=2.0, guard=0.0
    )
    for one, other in zip(ours, naive):
        assert_close(one, other, **EXACT)


def test_converged_transport_is_that_of_pot():
    student, teacher, cost, _ = problem(samples=3)
    value = wkd_logit_loss(
        student, teacher, cost, temperature=2.0, epsilon=0.1, num_iters=300, log_domain=True
    )
    expected = [
        (ot.sinkhorn(p, q, cost.numpy(), 0.1, numItermax=9999, stopThr=1e-14) * cost.numpy()).sum()
        for p, q in zip((student / 2).softmax(1).numpy(), (teacher / 2).softmax(1).numpy())
    ]
    # 300 rounds leave less than 1e-8.
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-7)


# The reference's own numbers


def golden(case):
    with np.load(GOLDEN) as file:
        fields = {key.split('/')[1]: file[key] for key in file.files if key.startswith(f'{case}/')}
    arguments = dict(
        teacher=torch.from_numpy(fields['teacher']),
        cost=torch.from_numpy(fields['cost']),
        temperature=float(fields['temperature']),
        transport_weight=float(fields.get('weight', 1.0)),
        epsilon=float(fields['reg']),
        num_iters=int(fields['num_iters']),
    )
    if 'label' in fields:
        arguments['target'] = torch.from_numpy(fields['label'])
    return torch.from_numpy(fields['student']), arguments, fields['loss'], fields['grad_student']


@pytest.mark.parametrize('case', SEPARATED + JOINT)
@pytest.mark.parametrize(
    ('log_domain', 'value_tolerance', 'gradient_tolerance'),
    [
        (False, 1e-5, 1e-4),  # two float32 programs of ten unrolled rounds
        (True, 1e-4, 2e-3),  # the 1e-8 in the divisions of the reference, which this form lacks
    ],
    ids=['plain', 'log'],
)
def test_reference(case, log_domain, value_tolerance, gradient_tolerance):
    student, arguments, loss, gradient = golden(case)
    value, grad = value_and_gradient(wkd_logit_loss, student, **arguments, log_domain=log_domain)
    assert value.item() == pytest.approx(float(loss), rel=value_tolerance)
    gradient = torch.from_numpy(gradient)
    atol = gradient_tolerance * gradient.abs().max().item()
    assert_close(grad, gradient, rtol=0, atol=atol)


# Limit


def test_exact_transport_as_epsilon_vanishes_never_from_below():
    student, teacher, cost, target = problem(samples=4, classes=6)
    exact = []
    for sample, index in enumerate(target):
        kept = torch.arange(6) != index
        p = (student[sample, kept] / 2).softmax(0).numpy()
        q = (teacher[sample, kept] / 2).softmax(0).numpy()
        exact.append(ot.emd2(p, q, cost[kept][:, kept].contiguous().numpy()))
    target_term = wkd_logit_loss(
        student, teacher, cost, target, temperature=2.0, transport_weight=0.0
    )
    for epsilon, num_iters in ((0.1, 200), (0.01, 2000)):
        value = wkd_logit_loss(
            student,
            teacher,
            cost,
            target,
            temperature=2.0,
            epsilon=epsilon,
            num_iters=num_iters,
            log_domain=True,
        )
        gap = (value - target_term).item() - np.mean(exact)
        # Entropies of plans over 5 classes lie in [0, 2 log 5]; 1e-9 is for rounding.
        assert -1e-9 <= gap <= epsilon * 2 * math.log(5)


@FORMS
def test_a_thousandth_of_the_range_is_finite_with_finite_gradients(separated):
    student, teacher, cost, target = problem(samples=5, classes=20, scale=6.0, dtype=torch.float32)
    value, grad = value_and_gradient(
        wkd_logit_loss,
        student,
        teacher,
        cost,
        target if separated else None,
        temperature=1.0,
        epsilon=1e-3 * cost.max().item(),
        log_domain=True,
    )
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()
    assert grad.abs().max() > 1e-4  # it does teach


# Convention


def test_student_holds_the_rows_and_teacher_the_columns():
    student, teacher, _, _ = problem(samples=3, classes=4)
    cost = torch.rand(4, 4, dtype=torch.float64)  # not symmetric
    value = wkd_logit_loss(student, teacher, cost, temperature=2.0)
    p, q = (student / 2).softmax(1), (teacher / 2).softmax(1)
    assert_close(value, sinkhorn_cost(p, q, cost, epsilon=0.05).mean(), **EXACT)
    swapped = wkd_logit_loss(teacher, student, cost, temperature=2.0)
    assert (value - swapped).abs() > 1e-3


def test_no_square_of_the_temperature():
    student, teacher, cost, _ = problem()
    value = wkd_logit_loss(student, teacher, cost, temperature=1.0)
    scaled = wkd_logit_loss(5 * student, 5 * teacher, cost, temperature=5.0)
    assert_close(scaled, value, **EXACT)


def test_equal_logits_cost_more_than_nothing():
    student, _, cost, _ = problem()
    assert wkd_logit_loss(student, student, cost, temperature=4.0, epsilon=0.2) > 0.01


@DOMAINS
def test_the_cost_of_the_target_class_has_no_influence(log_domain):
    student, teacher, cost, _ = problem()
    target = torch.full((4,), 2)
    arguments = dict(temperature=1.0, log_domain=log_domain)
    value = wkd_logit_loss(student, teacher, cost, target, **arguments)
    cost = cost.clone()
    cost[2, :] = cost[:, 2] = 50.0
    assert_close(wkd_logit_loss(student, teacher, cost, target, **arguments), value, **EXACT)


def test_weight_and_avg_factor():
    student, teacher, cost, target = problem()
    each = torch.stack(
        [
            wkd_logit_loss(
                student[i : i + 1], teacher[i : i + 1], cost, target[i : i + 1], temperature=1.0
            )
            for i in range(4)
        ]
    )
    weight = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64)

    def loss(**kwargs):
        return wkd_logit_loss(student, teacher, cost, target, temperature=1.0, **kwargs)

    assert_close(loss(), each.mean(), **EXACT)
    assert_close(loss(weight=weight), (weight * each).sum() / 4, **EXACT)
    assert_close(loss(weight=weight, avg_factor=2.5), (weight * each).sum() / 2.5, **EXACT)


@DOMAINS
@FORMS
def test_the_teacher_gets_no_gradient(separated, log_domain):
    student, teacher, cost, target = problem()
    student, teacher = student.requires_grad_(), teacher.requires_grad_()
    wkd_logit_loss(
        student,
        teacher,
        cost,
        target if separated else None,
        temperature=1.0,
        log_domain=log_domain,
    ).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


# Gradients


@DOMAINS
@FORMS
def test_gradcheck(separated, log_domain):
    student, teacher, cost, target = problem(samples=3, classes=4)

    def function(student):
        return wkd_logit_loss(
            student,
            teacher,
            cost,
            target if separated else None,
            temperature=1.5,
            transport_weight=2.0,
            epsilon=0.2,
            num_iters=4,
            log_domain=log_domain,
            weight=torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64),
        )

    assert torch.autograd.gradcheck(function, (student.requires_grad_(),))


# Types and extremes


@DOMAINS
@FORMS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_equals_float32_of_the_rounded_input(separated, log_domain, dtype):
    student, teacher, cost, target = problem(dtype=dtype)
    cost, target = cost.float(), target if separated else None
    arguments = dict(temperature=2.0, log_domain=log_domain)
    value, grad = value_and_gradient(wkd_logit_loss, student, teacher, cost, target, **arguments)
    expected, expected_grad = value_and_gradient(
        wkd_logit_loss, student.float(), teacher.float(), cost, target, **arguments
    )
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert grad.dtype == dtype
    assert torch.equal(grad, expected_grad.to(dtype))


@DOMAINS
@FORMS
@pytest.mark.parametrize('inside', [False, True], ids=['after', 'inside'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(separated, log_domain, dtype, inside):
    student, teacher, cost, target = problem(dtype=dtype)
    arguments = (teacher, cost.float(), target if separated else None)
    options = dict(temperature=2.0, log_domain=log_domain)
    expected = value_and_gradient(wkd_logit_loss, student, *arguments, **options)
    student = student.clone().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = wkd_logit_loss(student, *arguments, **options)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=inside):  # mmengine: after the block
        value.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), expected[0])
    assert torch.equal(student.grad, expected[1])


@DOMAINS
@FORMS
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_large_logits_stay_finite(separated, log_domain, dtype):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 6e4 * (2 * torch.rand(2, 8, 5, generator=generator) - 1)
    student[0, 0], student[0, 1], teacher[0, 0], teacher[0, 1] = 6e4, -6e4, -6e4, 6e4
    cost = problem(classes=5, dtype=torch.float32)[2]
    target = torch.arange(8) % 5 if separated else None
    value, grad = value_and_gradient(
        wkd_logit_loss,
        student.to(dtype),
        teacher.to(dtype),
        cost,
        target,
        temperature=1.0,
        log_domain=log_domain,
    )
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


def test_memory_is_that_of_matrices_not_of_one_cost_per_sample(monkeypatch):
    samples, classes = 64, 100
    student, teacher, cost, target = problem(samples, classes, dtype=torch.float32)
    monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', 2 * classes * classes)
    for log_domain in (False, True):
        with LargestTensor() as largest:
            value_and_gradient(
                wkd_logit_loss,
                student,
                teacher,
                cost,
                target,
                temperature=1.0,
                log_domain=log_domain,
            )
        assert 0 < largest.numel < samples * classes * classes / 4


# Properties


@DOMAINS
@FORMS
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    samples=st.integers(0, 4),
    classes=st.integers(2, 7),
    scale=st.sampled_from([0.0, 3.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_any_shape(separated, log_domain, samples, classes, scale, seed):
    student, teacher, cost, target = problem(
        samples, classes, seed=seed, scale=scale, dtype=torch.float32
    )
    arguments = (teacher, cost, target if separated else None)
    options = dict(temperature=1.0, log_domain=log_domain)
    value, grad = value_and_gradient(wkd_logit_loss, student, *arguments, **options)
    assert value.shape == ()
    assert value >= 0
    if samples == 0:
        assert value == 0
    assert torch.isfinite(grad).all()
    # A constant added to all logits of a sample changes nothing, so gradients sum to 0;
    # rounding of float32 logits of a few hundred.
    shifted = wkd_logit_loss(student + 1, *arguments, **options)
    assert_close(shifted, value, rtol=1e-4, atol=1e-4)
    assert_close(grad.sum(dim=1), torch.zeros(samples), rtol=0, atol=1e-4)


@FORMS
def test_no_samples_give_zero_with_a_graph(separated):
    student = torch.zeros(0, 3, requires_grad=True)
    value = wkd_logit_loss(
        student,
        torch.zeros(0, 3),
        1 - torch.eye(3),
        torch.zeros(0, dtype=torch.long) if separated else None,
        temperature=1.0,
    )
    assert value.item() == 0
    value.backward()
    assert student.grad.shape == (0, 3)


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(student=torch.ones(3)), r'share a shape \(N, C\), got \(3,\) and \(2, 3\)'),
        (dict(teacher=torch.ones(2, 4)), r'share a shape \(N, C\), got \(2, 3\) and \(2, 4\)'),
        (dict(cost=torch.ones(4, 4)), r'cost must have the shape .* = \(3, 3\), got \(4, 4\)'),
        (dict(temperature=0.0), 'temperature must be positive, got 0.0'),
        (dict(temperature=math.nan), 'temperature must be positive, got nan'),
        (dict(transport_weight=-1.0), 'transport_weight must not be negative, got -1.0'),
        (dict(epsilon=0.0), 'epsilon must be positive, got 0.0'),
        (dict(num_iters=0), 'num_iters must be an integer of at least 1, got 0'),
        (dict(target=torch.tensor([0])), r'target must have the shape \(2,\), got \(1,\)'),
        (dict(target=torch.tensor([[0], [1]])), r'shape \(2,\), got \(2, 1\)'),
        (dict(target=torch.tensor([0, 3])), r'lie in \[0, 3\), got values from 0 to 3'),
        (dict(target=torch.tensor([-1, 2])), r'lie in \[0, 3\), got values from -1 to 2'),
        (dict(weight=torch.ones(3)), r'weight must have the shape .* \(2,\), got \(3,\)'),
        (dict(avg_factor=0.0), 'avg_factor must be positive, got 0.0'),
    ],
)
def test_wrong_arguments(change, message):
    arguments = dict(
        student=torch.ones(2, 3),
        teacher=torch.ones(2, 3),
        cost=1 - torch.eye(3),
        target=torch.tensor([0, 1]),
        temperature=1.0,
    )
    with pytest.raises(ValueError, match=message):
        wkd_logit_loss(**(arguments | change))


def test_the_separated_form_needs_another_class():
    one = torch.ones(2, 1)
    with pytest.raises(ValueError, match='needs at least 2 classes, got 1'):
        wkd_logit_loss(one, one, torch.zeros(1, 1), torch.zeros(2).long(), temperature=1.0)


@DOMAINS
@FORMS
def test_plans_explain_the_transport(log_domain, separated):
    """Loss = target term + lambda * cost of the plans, and the plans leave the target out."""
    student, teacher, cost, target = problem()
    chosen = target if separated else None
    options = dict(temperature=2.0, epsilon=0.1, log_domain=log_domain)
    plan = wkd_transport_plan(student, teacher, cost, chosen, **options)
    whole = wkd_logit_loss(student, teacher, cost, chosen, transport_weight=3.0, **options)
    without = wkd_logit_loss(student, teacher, cost, chosen, transport_weight=0.0, **options)
    assert_close(whole - without, 3 * (plan * cost).sum((1, 2)).mean(), rtol=1e-9, atol=1e-12)
    if separated:
        rows = torch.arange(len(target))
        assert float(plan[rows, target].abs().max()) == 0
        assert float(plan[rows, :, target].abs().max()) == 0


@FORMS
def test_no_transport_without_weight(monkeypatch, separated):
    """At weight 0, where a schedule ends, the separated form does not run the rounds."""
    student, teacher, cost, target = problem()
    student.requires_grad_(True)
    if separated:
        monkeypatch.setattr('wkd_det.losses.wkd_logit.cost_of_rounds', None)
    loss = wkd_logit_loss(
        student, teacher, cost, target if separated else None, temperature=1.0, transport_weight=0.0
    )
    (gradient,) = torch.autograd.grad(loss, student)
    assert bool(gradient.abs().sum() > 0) == separated
