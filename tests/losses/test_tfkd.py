"""Tf-KD and its label smoothing: their authors' numbers with the cross entropy, uniform labels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import kd_loss, label_smoothing_loss, tfkd_loss, tfkd_self_loss

EXACT = dict(rtol=1e-12, atol=0)


def logits():
    shared = golden('logits')
    return shared['student'].requires_grad_(), shared['teacher'], shared['label']


@pytest.mark.parametrize('case', ['tfkd_reg/0', 'tfkd_reg/1'])
def test_reference_of_the_virtual_teacher(case):
    fields, (student, _, target) = golden(case), logits()
    options = {
        name: fields[name] for name in ('alpha', 'temperature', 'multiplier', 'correct_prob')
    }
    rest = (1 - fields['alpha']) * F.cross_entropy(student, target)
    check(case, rest + tfkd_loss(student, target, **options), student=student)


def test_reference_of_the_earlier_self():
    case = 'tfkd_self/0'
    fields, (student, teacher, target) = golden(case), logits()
    options = {name: fields[name] for name in ('alpha', 'temperature', 'multiplier')}
    rest = (1 - fields['alpha']) * F.cross_entropy(student, target)
    check(case, rest + tfkd_self_loss(student, teacher, **options), student=student)


def test_reference_of_label_smoothing():
    case = 'label_smoothing/tfkd'
    student, _, target = logits()
    loss = label_smoothing_loss(student, target, alpha=golden(case)['alpha'])
    check(case, loss, student=student)


def test_the_virtual_teacher_is_nearly_uniform():
    """A uniform student differs from it by little, one that is sure of the label by much."""
    target = torch.tensor([0])
    uniform = torch.zeros(1, 4, dtype=torch.float64)
    sure = torch.tensor([[9.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    options = dict(alpha=1.0, multiplier=4.0, temperature=20.0)
    small, large = (tfkd_loss(one, target, **options) for one in (uniform, sure))
    assert 0 < small < 1e-3
    assert large > 1


def test_of_the_earlier_self_the_mean_is_over_classes_too():
    student, teacher, _ = logits()
    value = tfkd_self_loss(student, teacher, alpha=0.5, multiplier=3.0, temperature=2.0)
    assert_close(value, 0.15 * kd_loss(student, teacher, temperature=2.0), **EXACT)


@pytest.mark.parametrize('alpha', [0.0, 0.1, 1.0])
def test_smoothing_is_that_of_torch_with_another_share(alpha):
    """PyTorch spreads its share over all classes, this form over the others."""
    student, _, target = logits()
    expected = F.cross_entropy(student, target, label_smoothing=min(1.0, alpha * 10 / 9))
    if alpha <= 0.9:
        assert_close(label_smoothing_loss(student, target, alpha=alpha), expected, **EXACT)
    others = -(student.log_softmax(1).sum(1) - student.log_softmax(1)[range(6), target]) / 9
    if alpha == 1:
        assert_close(label_smoothing_loss(student, target, alpha=alpha), others.mean(), **EXACT)


def test_soft_labels_are_smoothed_class_by_class():
    student, _, target = logits()
    other = (target + 1) % 10
    labels = 0.7 * F.one_hot(target, 10) + 0.3 * F.one_hot(other, 10)
    expected = 0.7 * label_smoothing_loss(student, target) + 0.3 * label_smoothing_loss(
        student, other
    )
    value = label_smoothing_loss(student, labels.double())
    assert_close(value, expected, rtol=1e-6, atol=0)  # labels were made in float32


def test_by_hand():
    student = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    value = label_smoothing_loss(student, torch.tensor([0]), alpha=0.4)
    assert value.item() == pytest.approx(0.6 * math.log(2) + 0.4 * math.log(4), rel=1e-12)
