"""CTKD: its authors' numbers, the reversed gradient and its schedule, what can be wrapped."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import dist_loss, dkd_loss, kd_loss
from wkd_det.losses import CTKDLoss

DKD = dict(type='DKDLoss', alpha=1.0, beta=2.0)


def built(**options):
    return CTKDLoss(**options).double()


@pytest.mark.parametrize('case', ['ctkd/0', 'ctkd/1', 'ctkd/2'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student = shared['student'].requires_grad_()
    loss = built(reversal=-fields['lambda_'], t_start=fields['t_start'], t_end=fields['t_end'])
    assert loss.temperature.item() == pytest.approx(fields['temperature'].item(), rel=1e-12)
    value = loss(student, shared['teacher'])
    check(case, value, student=student, theta=loss.theta)


def test_reference_with_dkd():
    shared, fields = golden('logits'), golden('ctkd/dkd')
    student = shared['student'].requires_grad_()
    loss = built(loss=dict(DKD, alpha=fields['alpha'], beta=fields['beta']))
    check('ctkd/dkd', loss(student, shared['teacher'], shared['label']), student=student)


def test_the_temperature_with_dkd_has_a_gradient():
    """The authors' code has none, but NaN."""
    shared = golden('logits')
    student, teacher, target = shared['student'], shared['teacher'], shared['label']
    loss = built(loss=DKD)
    (grad,) = torch.autograd.grad(loss(student, teacher, target), loss.theta)

    def plain(theta):
        temperature = 1 + 20 * theta.sigmoid()
        return dkd_loss(student, teacher, target, alpha=1.0, beta=2.0, temperature=temperature)

    theta = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(plain, theta)
    (expected,) = torch.autograd.grad(plain(theta), theta)
    assert expected != 0
    assert_close(grad, -expected, rtol=1e-12, atol=0)


def test_the_temperature_rises_the_loss():
    """A step along the gradient's descent is an ascent of the loss."""
    shared = golden('logits')
    loss = built()
    before = loss(shared['student'], shared['teacher'])
    before.backward()
    with torch.no_grad():
        loss.theta -= 0.1 * loss.theta.grad
    assert loss(shared['student'], shared['teacher']) > before


def test_the_factor_of_the_schedule_is_that_of_the_authors():
    """Lambda of epoch e is minus (1 - cos(pi min(e, E) / E)) / 2, the cosine ramp."""
    fields = golden('ctkd/schedule')
    for epoch, expected in zip(fields['epochs'].tolist(), fields['lambda_'].tolist()):
        ramp = (1 - math.cos(math.pi * min(epoch, 10) / 10)) / 2
        assert -ramp == pytest.approx(expected, abs=1e-12)
    assert CTKDLoss.scalable == ('reversal',)


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        (None, lambda s, t, y, tau: kd_loss(s, t, temperature=tau)),
        (
            dict(type='KDLoss', standardize=True, loss_weight=3.0),
            lambda s, t, y, tau: 3 * kd_loss(s, t, temperature=tau, standardize=True),
        ),
        (
            dict(type='DISTLoss', beta=2.0),
            lambda s, t, y, tau: dist_loss(s, t, temperature=tau, beta=2.0),
        ),
        (DKD, lambda s, t, y, tau: dkd_loss(s, t, y, alpha=1.0, beta=2.0, temperature=tau)),
    ],
)
def test_any_loss_of_logits_with_a_temperature(config, expected):
    shared = golden('logits')
    given = shared['student'], shared['teacher'], shared['label']
    loss = built(loss=config, loss_weight=0.5)
    tau = 1 + 20 / (1 + math.exp(-1))
    assert_close(loss(*given).detach(), 0.5 * expected(*given, tau), rtol=1e-12, atol=0)
    assert loss.needs == (('target',) if config is DKD else ())
    assert [name for name, _ in loss.named_parameters()] == ['theta']


@pytest.mark.parametrize('scale', [1.0, 30.0, 1e3])
@pytest.mark.parametrize('config', [dict(type='KDLoss'), DKD], ids=lambda config: config['type'])
def test_confident_networks_stay_finite(config, scale):
    shared = golden('logits')
    student, teacher = ((scale * shared[n]).bfloat16() for n in ('student', 'teacher'))
    loss = CTKDLoss(loss=config)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student.requires_grad_(), teacher, shared['label'])
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert loss.theta.grad.isfinite()


def test_a_loss_that_was_called_can_be_copied():
    shared = golden('logits')
    loss = built()
    loss(shared['student'], shared['teacher'])
    assert copy.deepcopy(loss).theta == 1


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(loss='KDLoss'), TypeError, "loss must be a dict with a type, got 'KDLoss'"),
        (
            dict(loss=dict(type='KDLoss', temperature=4.0)),
            ValueError,
            'CTKDLoss trains the temperature: leave temperature=4.0 out of its loss',
        ),
        (
            dict(loss=dict(type='TTMLoss')),
            ValueError,
            'CTKDLoss needs a loss of logits with a temperature, such as KDLoss or DKDLoss, got '
            'TTMLoss',
        ),
        (
            dict(loss=dict(type='NSTLoss')),
            ValueError,
            'CTKDLoss needs a loss of logits with a temperature, such as KDLoss or DKDLoss, got '
            'NSTLoss',
        ),
        (
            dict(loss=dict(type='TfKDLoss')),
            ValueError,
            'CTKDLoss needs a loss of two networks, got TfKDLoss',
        ),
        (dict(reversal=-1), ValueError, 'reversal must not be negative, got -1'),
        (dict(t_start=0), ValueError, 't_start must be positive, got 0'),
        (dict(t_end=-2), ValueError, 't_end must be positive, got -2'),
    ],
)
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=f'^{message}$'):
        CTKDLoss(**options)
