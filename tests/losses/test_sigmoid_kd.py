"""Binary KD and CrossKD's quality focal loss: worked by hand, PyTorch, gradients, errors."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.functional import quality_focal_kd_loss, sigmoid_kd_loss
from wkd_det.losses import QualityFocalKDLoss, SigmoidKDLoss

LOSSES = {
    'sigmoid': (sigmoid_kd_loss, SigmoidKDLoss, {}),
    'sigmoid, tempered': (sigmoid_kd_loss, SigmoidKDLoss, dict(temperature=3.0)),
    'focal': (quality_focal_kd_loss, QualityFocalKDLoss, {}),
    'focal, squared': (quality_focal_kd_loss, QualityFocalKDLoss, dict(beta=2.0)),
    'focal, flat': (quality_focal_kd_loss, QualityFocalKDLoss, dict(beta=0)),
}
EACH = pytest.mark.parametrize('name', LOSSES)


def logits(places=6, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, places, classes, generator=generator, dtype=torch.float64)


def test_one_class_by_hand():
    """1/2 against 3/4: log 2 less the entropy, and log 2 times the difference of 1/4."""
    student, teacher = torch.zeros(1, 1), torch.tensor([[3.0]]).log()
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert sigmoid_kd_loss(student, teacher).item() == pytest.approx(math.log(2) - entropy)
    focal = quality_focal_kd_loss(student, teacher)
    assert focal.item() == pytest.approx(math.log(2) / 4)


def test_cross_entropies_of_torch():
    student, teacher = logits()
    p, q = (teacher / 2).sigmoid(), (student / 2).sigmoid()
    cross = F.binary_cross_entropy(q, p, reduction='none')
    entropy = F.binary_cross_entropy(p, p, reduction='none')
    expected = 4 * (cross - entropy).sum(dim=1).mean()
    assert_close(sigmoid_kd_loss(student, teacher, temperature=2.0), expected)
    p, q = teacher.sigmoid(), student.sigmoid()
    cross = F.binary_cross_entropy(q, p, reduction='none')
    for beta in (0, 1, 2.5):
        expected = ((q - p).abs() ** beta * cross).sum(dim=1).mean()
        assert_close(quality_focal_kd_loss(student, teacher, beta=beta), expected)


def test_focal_is_that_of_mmdetection_where_the_teacher_is_sure():
    """With targets of a class and a quality, the quality focal loss of MMDetection."""
    student = logits()[0]
    target, quality = torch.arange(6) % 5, torch.full((6,), 0.7, dtype=torch.float64)
    teacher = torch.full_like(student, -1e3)
    teacher[torch.arange(6), target] = quality.logit()
    reference = MODELS.build(dict(type='QualityFocalLoss', beta=2.0))
    expected = reference(student, (target, quality), avg_factor=4.0)
    assert_close(quality_focal_kd_loss(student, teacher, beta=2.0, avg_factor=4.0), expected)


@EACH
def test_gradcheck_and_no_gradient_for_the_teacher(name):
    function, _, options = LOSSES[name]
    student, teacher = logits(3)
    weight = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()

    def value(own):
        return function(own, teacher.detach(), weight=weight, avg_factor=1.5, **options)

    assert torch.autograd.gradcheck(value, student)
    function(student, teacher, **options).backward()
    assert teacher.grad is None


def test_gradient_is_the_difference_of_probabilities():
    student, teacher = logits()
    student.requires_grad_()
    (6 * sigmoid_kd_loss(student, teacher, temperature=2.0)).backward()
    expected = 2 * ((student / 2).sigmoid() - (teacher / 2).sigmoid())
    assert_close(student.grad, expected.detach())


@EACH
def test_weights_and_divisor(name):
    function, kind, options = LOSSES[name]
    student, teacher = logits(3)
    each = torch.stack(
        [function(student[i : i + 1], teacher[i : i + 1], **options) for i in range(3)]
    )
    weight = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    expected = (weight * each).sum() / 4
    assert_close(function(student, teacher, **options), each.mean())
    loss = kind(loss_weight=2.0, **options)
    assert_close(loss(student, teacher, weight=weight, avg_factor=4.0), 2 * expected)
    assert loss.takes == 'dense_logits'
    assert type(MODELS.build(dict(type=kind.__name__))) is kind


@EACH
def test_no_places_far_logits_and_half_precision(name):
    function, _, options = LOSSES[name]
    nothing = torch.zeros(0, 5, requires_grad=True)
    value = function(nothing, nothing.detach(), avg_factor=torch.tensor(1.0), **options)
    value.backward()
    assert value == 0
    assert nothing.grad.shape == (0, 5)
    far = torch.tensor([[6e4, -6e4, 6e4, 0.0]], dtype=torch.float16, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = function(far, -far.detach(), **options)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert far.grad.isfinite().all()
    if name.startswith('sigmoid'):
        assert function(far, far.detach(), **options) == 0


@EACH
def test_errors(name):
    function, kind, options = LOSSES[name]
    with pytest.raises(ValueError, match=r'\(2, 3\).* \(2, 4\)'):
        function(torch.zeros(2, 3), torch.zeros(2, 4), **options)
    with pytest.raises(ValueError, match='loss_weight must not be negative, got -1'):
        kind(loss_weight=-1)


def test_errors_of_options():
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        SigmoidKDLoss(temperature=0)
    with pytest.raises(ValueError, match=r'beta must be 0 or at least 1, got 0\.5'):
        QualityFocalKDLoss(beta=0.5)
    with pytest.raises(ValueError, match='beta must not be negative, got -1'):
        QualityFocalKDLoss(beta=-1)
