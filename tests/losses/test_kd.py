"""KD and DKD: by hand, torch's own KL, the numbers of mdistiller, extremes; the modules."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.losses.kd import dkd_loss, kd_loss

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
EXACT = dict(rtol=1e-10, atol=1e-12)  # some dozen float64 operations


def batch(samples=6, classes=5, *, seed=0, scale=1.0, dtype=torch.float64):
    """Student, teacher and classes."""
    generator = torch.Generator().manual_seed(seed)
    both = scale * torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    target = torch.randint(0, classes, (samples,), generator=generator)
    return (*both.to(dtype).unbind(0), target)


def both(student, teacher, target, temperature=1.0, **options):
    """Both losses."""
    return (
        kd_loss(student, teacher, temperature=temperature, **options),
        dkd_loss(student, teacher, target, temperature=temperature, **options),
    )


def loss_and_gradient(function, student):
    student = student.detach().clone().requires_grad_()
    value = function(student)
    value.backward()
    return value.detach(), student.grad


# Closed form


def test_by_hand():
    """Student (1/2, 1/4, 1/4), teacher (1/4, 1/4, 1/2), target the first class."""
    student = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    teacher = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64).log()
    target = torch.tensor([0])
    kd = 0.25 * math.log(0.25 / 0.5) + 0.25 * math.log(1) + 0.5 * math.log(0.5 / 0.25)
    assert kd_loss(student, teacher, temperature=1.0).item() == pytest.approx(kd, rel=1e-12)
    binary = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    others = 1 / 3 * math.log((1 / 3) / 0.5) + 2 / 3 * math.log((2 / 3) / 0.5)
    for alpha, beta in ((1, 0), (0, 1), (1, 0.25), (2, 3)):
        value = dkd_loss(student, teacher, target, alpha=alpha, beta=beta)
        assert value.item() == pytest.approx(alpha * binary + beta * others, rel=1e-12)
    assert dkd_loss(student, teacher, target).item() == pytest.approx(binary + 0.25 * others)


def test_temperature_divides_the_logits_and_multiplies_the_loss_squared():
    student, teacher, target = batch()
    for hot, cold in zip(
        both(3 * student, 3 * teacher, target, temperature=3.0), both(student, teacher, target)
    ):
        assert_close(hot, 9 * cold, **EXACT)


# Independent oracle


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kd_is_the_divergence_of_torch(temperature):
    student, teacher, _ = batch()
    expected = F.kl_div(
        (student / temperature).log_softmax(1), (teacher / temperature).softmax(1),
        reduction='batchmean',
    )  # fmt: skip
    value = kd_loss(student, teacher, temperature=temperature)
    assert_close(value, temperature**2 * expected, **EXACT)


def test_kd_is_dkd_with_the_weight_that_the_teacher_gives():
    """DKD's own identity: KD = target part + (1 - p_t of the teacher) * other part."""
    student, teacher, target = batch(1)
    beta = 1 - teacher.softmax(1)[0, target[0]].item()
    value = dkd_loss(student, teacher, target, alpha=1.0, beta=beta)
    assert_close(value, kd_loss(student, teacher, temperature=1.0), **EXACT)


@pytest.mark.parametrize('case', ['kd_0', 'dkd_0'])
def test_reference(case):
    with np.load(GOLDEN) as file:
        fields = {key.split('/')[1]: file[key] for key in file.files if key.startswith(f'{case}/')}
    teacher, temperature = torch.from_numpy(fields['teacher']), float(fields['temperature'])

    def function(student):
        if case == 'kd_0':
            return kd_loss(student, teacher, temperature=temperature)
        return dkd_loss(
            student, teacher, torch.from_numpy(fields['label']), temperature=temperature,
            alpha=float(fields['alpha']), beta=float(fields['beta']),
        )  # fmt: skip

    value, grad = loss_and_gradient(function, torch.from_numpy(fields['student']))
    # Two float32 programs that sum in different orders.
    assert value.item() == pytest.approx(float(fields['loss']), rel=1e-5)
    expected = torch.from_numpy(fields['grad_student'])
    assert_close(grad, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


# Limit


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equal_logits_give_zero_with_gradient_zero(dtype):
    _, teacher, target = batch(dtype=dtype)
    for index in (0, 1):
        value, grad = loss_and_gradient(lambda s, i=index: both(s, teacher, target)[i], teacher)
        assert abs(value.item()) < 1e-6
        assert grad.abs().max() < 1e-6


def test_a_common_offset_of_the_logits_does_not_matter():
    student, teacher, target = batch()
    for one, other in zip(both(student + 7, teacher - 3, target), both(student, teacher, target)):
        assert_close(one, other, **EXACT)


# Convention


def test_mean_over_samples_weight_and_avg_factor():
    student, teacher, target = batch(3)
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    rows = [slice(i, i + 1) for i in range(3)]
    each = [torch.stack(both(student[r], teacher[r], target[r])) for r in rows]
    each = torch.stack(each, dim=1)
    assert_close(torch.stack(both(student, teacher, target)), each.mean(dim=1), **EXACT)
    value = torch.stack(both(student, teacher, target, weight=weight, avg_factor=2.0))
    assert_close(value, (weight * each).sum(dim=1) / 2, **EXACT)


def test_the_teacher_gets_no_gradient():
    student, teacher, target = batch()
    student.requires_grad_(), teacher.requires_grad_()
    sum(both(student, teacher, target)).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


# Gradients, types, extremes


@pytest.mark.parametrize('temperature', [1.0, 3.0])
@pytest.mark.parametrize('classes', [2, 5])
def test_gradcheck(temperature, classes):
    student, teacher, target = batch(4, classes)
    student.requires_grad_()
    for index in (0, 1):
        assert torch.autograd.gradcheck(
            lambda s, i=index: both(s, teacher, target, temperature)[i], (student,)
        )


@pytest.mark.parametrize('scale', [1e2, 1e4, 6e4])
def test_confident_networks_that_disagree_stay_finite(scale):
    student, teacher, target = batch(dtype=torch.float32, scale=scale)
    for index in (0, 1):
        value, grad = loss_and_gradient(lambda s, i=index: both(s, teacher, target)[i], student)
        assert torch.isfinite(value)
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [3, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher, target = batch(samples, dtype=dtype)
    expected = both(student.float(), teacher.float(), target)
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        values = both(student, teacher, target)
    for value, other in zip(values, expected):
        assert value.dtype == torch.float32
        assert value.requires_grad
        assert torch.equal(value.detach(), other)
        assert samples or value.item() == 0


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(student=torch.ones(3, 4)), r'share a shape \(N, C\), got \(3, 4\) and \(2, 4\)'),
        (dict(temperature=0.0), 'temperature must be positive, got 0.0'),
        (dict(target=torch.tensor([0, 4])), r'target must lie in \[0, 4\), got values from 0 to 4'),
        (dict(target=torch.tensor([0])), r'target must have the shape \(2,\), got \(1,\)'),
        (dict(alpha=-1.0), 'alpha must not be negative, got -1.0'),
        (dict(beta=-1.0), 'beta must not be negative, got -1.0'),
        (dict(student=torch.ones(2, 1), teacher=torch.ones(2, 1)), 'DKD needs at least 2 classes'),
    ],
)
def test_wrong_arguments(change, message):
    arguments = dict(
        student=torch.ones(2, 4), teacher=torch.ones(2, 4), target=torch.tensor([0, 1])
    )
    with pytest.raises(ValueError, match=message):
        dkd_loss(**(arguments | change))


def test_wrong_arguments_of_kd():
    with pytest.raises(ValueError, match='temperature must be positive, got nan'):
        kd_loss(torch.ones(2, 4), torch.ones(2, 4), temperature=math.nan)
    with pytest.raises(ValueError, match=r'got \(2, 3\) and \(2, 4\)'):
        kd_loss(torch.ones(2, 3), torch.ones(2, 4), temperature=1.0)


# Modules


def logits():
    generator = torch.Generator().manual_seed(0)
    return (*torch.randn(2, 4, 5, generator=generator).unbind(0), torch.tensor([0, 4, 2, 2]))


def test_kd_module_is_the_function_times_the_weight():
    student, teacher, target = logits()
    loss = MODELS.build(dict(type='KDLoss', temperature=4.0, loss_weight=0.5))
    assert loss.takes == 'logits'
    expected = 0.5 * kd_loss(student, teacher, temperature=4.0)
    assert torch.equal(loss(student, teacher, target), expected)
    defaults = MODELS.build(dict(type='KDLoss'))
    assert torch.equal(defaults(student, teacher), kd_loss(student, teacher, temperature=1.0))


def test_dkd_module_is_the_function_times_the_weight():
    student, teacher, target = logits()
    options = dict(alpha=2.0, beta=8.0, temperature=4.0)
    loss = MODELS.build(dict(type='DKDLoss', loss_weight=0.5, **options))
    assert loss.takes == 'logits'
    expected = 0.5 * dkd_loss(student, teacher, target, **options)
    assert torch.equal(loss(student, teacher, target), expected)
    defaults = MODELS.build(dict(type='DKDLoss'))
    assert torch.equal(defaults(student, teacher, target), dkd_loss(student, teacher, target))


@pytest.mark.parametrize('part', ['alpha', 'beta'])
def test_the_parts_of_dkd_can_be_scheduled(part):
    student, teacher, target = logits()
    loss = MODELS.build(dict(type='DKDLoss'))
    assert part in loss.scalable
    setattr(loss, part, 0.0)
    assert torch.equal(
        loss(student, teacher, target), dkd_loss(student, teacher, target, **{part: 0.0})
    )


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='KDLoss', temperature=0), 'temperature must be positive, got 0'),
        (dict(type='DKDLoss', temperature=0), 'temperature must be positive, got 0'),
        (dict(type='DKDLoss', alpha=-1), 'alpha must not be negative, got -1'),
        (dict(type='DKDLoss', beta=-1), 'beta must not be negative, got -1'),
    ],
)
def test_numbers_outside_their_range(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)
