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

EXACT = dict(rtol=1e-12, atol=0)


def views():
    """Student, teacher, target, and both networks on the strong view."""
    shared, fields = golden('logits'), golden('mlkd/full')
    return (
        shared['student'],
        shared['teacher'],
        shared['label'],
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
    fields, given = golden('mlkd/full'), views()
    given[0].requires_grad_(), given[3].requires_grad_()
    options = {name: fields[name] for name in ('temperature', 'ce_weight', 'kd_weight')}
    loss = mlkd_loss(*given, **options)
    check('mlkd/full', loss, student_weak=given[0], student_strong=given[3])


def test_soft_labels_are_those_of_the_cross_entropies():
    student, teacher, target, *strong = views()
    labels = 0.75 * F.one_hot(target, 10).double() + 0.025
    value = mlkd_loss(student, teacher, labels, *strong, ce_weight=2.0, kd_weight=0.0)
    expected = 2 * (F.cross_entropy(student, labels) + F.cross_entropy(strong[0], labels))
    assert_close(value, expected, **EXACT)


def test_only_the_divergences_are_standardised():
    student, teacher, target, *strong = views()
    change = mlkd_loss(student, teacher, target, *strong, standardize=True) - mlkd_loss(
        student, teacher, target, *strong
    )

    def divergences(student, teacher, temperatures):
        return sum(kd_loss(student, teacher, temperature=t) for t in temperatures)

    expected = 0
    for sign, scale in ((1, standardize_logits), (-1, lambda logits: logits)):
        weak, hard = ([scale(s), scale(t)] for s, t in ((student, teacher), strong))
        total = 0.5 * divergences(*weak, (4, 3, 5, 2, 6)) + divergences(*weak, (2, 6))
        expected = expected + sign * 0.9 * (total + divergences(*hard, (4, 3, 5)))
    assert_close(change, expected, rtol=1e-10, atol=0)


def test_no_samples_give_zero():
    empty = torch.zeros(0, 5, requires_grad=True)
    value = mlkd_loss(empty, empty, torch.zeros(0, dtype=torch.long), empty, empty)
    value.backward()
    assert value.item() == 0


def test_the_module_is_the_function_times_the_weight():
    names = ('student', 'teacher', 'target', 'student_strong', 'teacher_strong')
    given = dict(zip(names, views()))
    options = dict(temperature=1.0, ce_weight=0.5, kd_weight=0.25, standardize=True)
    loss = MLKDLoss(loss_weight=2.0, **options)
    assert torch.equal(loss(**given), 2 * mlkd_loss(**given, **options))
    assert loss.takes == 'logits'
    assert loss.needs == names[2:]
    assert loss.scalable == ('ce_weight', 'kd_weight')


def test_wrong_arguments():
    student, teacher, target, *strong = views()
    message = r'^teacher_strong must have the shape of the weak view \(6, 10\), got \(6, 9\)$'
    with pytest.raises(ValueError, match=message):
        mlkd_loss(student, teacher, target, strong[0], strong[1][:, 1:])
    with pytest.raises(TypeError, match='^student_strong must be a tensor, got '):
        mlkd_loss(student, teacher, target, strong[0].tolist(), strong[1])
    with pytest.raises(ValueError, match='^kd_weight must not be negative, got -1$'):
        MLKDLoss(kd_weight=-1)
    with pytest.raises(ValueError, match='^temperature must be positive, got 0$'):
        mlkd_class_loss(student, teacher, temperature=0)
