"""MLKD: its authors' numbers, whole and in parts, relations by hand, its two views."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from wkd_det.functional import (
    kd_loss,
    mlkd_batch_loss,
    mlkd_class_loss,
    mlkd_loss,
    standardize_logits,
)
from wkd_det.losses import MLKDLoss


def views():
    """Student and teacher on the weak view, and on the strong one."""
    shared, fields = golden('logits'), golden('mlkd/full')
    return (
        shared['student'],
        shared['teacher'],
        fields['student_strong'],
        fields['teacher_strong'],
    )


def test_relations_by_hand():
    student, teacher, *_ = views()
    own, other = (logits.div(2).softmax(dim=1) for logits in (student, teacher))
    by_class = (own.T @ own - other.T @ other).square().sum() / 10
    by_sample = (own @ own.T - other @ other.T).square().sum() / 6
    assert_close(mlkd_class_loss(student, teacher, temperature=2.0), by_class, rtol=1e-10, atol=0)
    assert_close(mlkd_batch_loss(student, teacher, temperature=2.0), by_sample, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ('case', 'part'),
    [(f'mlkd/{name}_{i}', part) for name, part in
     dict(class_=mlkd_class_loss, batch_=mlkd_batch_loss).items() for i in (0, 1)],
)  # fmt: skip
def test_reference_of_the_relations(case, part):
    case = case.replace('__', '_')
    student, teacher, *_ = views()
    student.requires_grad_()
    loss = part(student, teacher, temperature=golden(case)['temperature'])
    check(case, loss, student=student)


def test_reference():
    """With the cross entropies of both views, which are the classifier's."""
    fields, given, target = golden('mlkd/full'), views(), golden('logits')['label']
    student, _, strong, _ = given
    student.requires_grad_(), strong.requires_grad_()
    entropies = F.cross_entropy(student, target) + F.cross_entropy(strong, target)
    distilled = mlkd_loss(*given, temperature=fields['temperature'])
    loss = fields['ce_weight'] * entropies + fields['kd_weight'] * distilled
    check('mlkd/full', loss, student_weak=student, student_strong=strong)


def test_only_the_divergences_are_standardised():
    student, teacher, *strong = views()
    given = (student, teacher, *strong)
    change = mlkd_loss(*given, standardize=True) - mlkd_loss(*given)

    def divergences(student, teacher, temperatures):
        return sum(kd_loss(student, teacher, temperature=t) for t in temperatures)

    expected = 0
    for sign, scale in ((1, standardize_logits), (-1, lambda logits: logits)):
        weak, hard = ([scale(s), scale(t)] for s, t in ((student, teacher), strong))
        total = 0.5 * divergences(*weak, (4, 3, 5, 2, 6)) + divergences(*weak, (2, 6))
        expected = expected + sign * (total + divergences(*hard, (4, 3, 5)))
    assert_close(change, expected, rtol=1e-10, atol=0)


def test_no_samples_give_zero():
    empty = torch.zeros(0, 5, requires_grad=True)
    value = mlkd_loss(*[empty] * 4)
    value.backward()
    assert value.item() == 0


def test_the_module_is_the_function_times_the_weight():
    names = ('student', 'teacher', 'student_strong', 'teacher_strong')
    given = dict(zip(names, views()))
    options = dict(temperature=1.0, standardize=True)
    loss = MLKDLoss(loss_weight=2.0, **options)
    assert torch.equal(loss(**given), 2 * mlkd_loss(**given, **options))
    assert loss.takes == 'logits'
    assert loss.needs == names[2:]


def test_wrong_arguments():
    student, teacher, *strong = views()
    message = r'^teacher_strong must have the shape of the weak view \(6, 10\), got \(6, 9\)$'
    with pytest.raises(ValueError, match=message):
        mlkd_loss(student, teacher, strong[0], strong[1][:, 1:])
    with pytest.raises(TypeError, match='^student_strong must be a tensor, got '):
        mlkd_loss(student, teacher, strong[0].tolist(), strong[1])
    with pytest.raises(ValueError, match='^temperature must be positive, got 0$'):
        MLKDLoss(temperature=0)
    with pytest.raises(ValueError, match='^temperature must be positive, got 0$'):
        mlkd_class_loss(student, teacher, temperature=0)
