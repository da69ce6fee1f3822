"""Losses of the maps of several stages without networks of their own: FSP and AB."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.ab import ABLoss, ab_loss
from wkd_det.losses.fsp import FSPLoss, fsp_loss
from wkd_det.ops.maps import pooled

BOTH = pytest.mark.parametrize('loss', [fsp_loss, ab_loss])
SIZES = ((6, 4), (3, 4), (3, 2))


def pair(dtype=torch.float64, samples=2, sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(samples, width, *size, generator=generator, dtype=torch.float64).to(dtype)
            for width, size in zip((2, 3, 4), sizes)
        ]
        for _ in range(2)
    ]


def test_flow_by_hand():
    """One channel of two pixels (1, 3) and one pixel 2: mean 2 times 2, against 0."""
    student = [torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0]]]])]
    assert fsp_loss(student, [0 * level for level in student]).item() == 16


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [(0.5, 2.0, 0.25), (1.5, 2.0, 0.0), (0.5, -2.0, 2.25), (-1.5, 0.0, 0.0), (-0.5, 0.0, 0.25)],
)
def test_boundaries_by_hand(student, teacher, expected):
    own, other = (torch.full((1, 1, 1, 1), value) for value in (student, teacher))
    assert ab_loss([own], [other]).item() == pytest.approx(expected * 3 / 1000)


@pytest.mark.parametrize(('case', 'loss'), [('fsp/0', fsp_loss), ('ab/0', ab_loss)])
def test_values_and_gradients_are_the_references(case, loss):
    fields = golden(case)
    student, teacher = ([fields[f'{side}_{i}'] for i in (0, 1)] for side in ('student', 'teacher'))
    for level in student:
        level.requires_grad_()
    check(case, loss(student, teacher), student_0=student[0], student_1=student[1])


def test_pairs_of_consecutive_stages_are_summed():
    student, teacher = pair()
    each = [fsp_loss(student[i : i + 2], teacher[i : i + 2]) for i in (0, 1)]
    assert_close(fsp_loss(student, teacher), each[0] + each[1])
    halved = [pooled(level, size) for level, size in zip(teacher, ((3, 2), (3, 4), (3, 2)))]
    assert halved[0].shape != teacher[0].shape
    assert fsp_loss(student, halved).isfinite()  # sizes of the networks may differ


def test_later_stages_count_twice_and_the_margin():
    student, teacher = pair()
    each = [ab_loss([s], [t], margin=0.5) for s, t in zip(student, teacher)]
    assert_close(ab_loss(student, teacher, margin=0.5), each[0] / 4 + each[1] / 2 + each[2])
    assert_close(ab_loss(student, teacher, margin=0), sum(
        (level * (level.sign() != other.sign())).square().sum() / 2 * 2.0 ** (i - 2) * 0.003
        for i, (level, other) in enumerate(zip(student, teacher))
    ))  # fmt: skip


@BOTH
@pytest.mark.parametrize('filling', [0.0, math.inf, math.nan])
def test_only_pixels_of_the_image_count(loss, filling):
    student, teacher = pair(sizes=((4, 4), (4, 2), (2, 2)))
    cut = loss(*([x[:, :, : x.shape[2] // 2] for x in maps] for maps in (student, teacher)))
    mask = []
    for own, other in zip(student, teacher):
        mask.append(torch.ones_like(own[:, 0], dtype=torch.bool))
        mask[-1][:, own.shape[2] // 2 :] = False
        own[:, :, own.shape[2] // 2 :] = filling
        other[:, :, own.shape[2] // 2 :] = -filling
        own.requires_grad_()
    value = loss(student, teacher, mask=mask)
    assert_close(value, cut)
    for gradient, inside in zip(torch.autograd.grad(value, student), mask):
        assert gradient.isfinite().all()
        assert not gradient.masked_select(~inside[:, None]).any()


@BOTH
def test_gradcheck(loss):
    student, teacher = pair()
    assert torch.autograd.gradcheck(
        lambda *own: loss(own, teacher), [level.requires_grad_() for level in student]
    )


@BOTH
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(loss, dtype, samples):
    student, teacher = pair(dtype, samples)
    expected = loss(*([x.float() for x in maps] for maps in (student, teacher)))
    student = [level.requires_grad_() for level in student]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value == 0


@pytest.mark.parametrize(
    ('module', 'expected'),
    [
        (FSPLoss(loss_weight=50.0), lambda *maps: 50 * fsp_loss(*maps)),
        (ABLoss(margin=0.5, loss_weight=2.0), lambda *maps: 2 * ab_loss(*maps, margin=0.5)),
    ],
    ids=['FSP', 'AB'],
)
def test_modules_are_the_function_times_the_weight(module, expected):
    student, teacher = pair(torch.float32)
    for level in (*student, *teacher):
        level.requires_grad_()
    assert module.takes == 'pyramid'
    assert not module.state_dict()
    value = module(student, teacher)
    assert torch.equal(value, expected(student, teacher))
    value.backward()
    assert all(level.grad.abs().max() > 0 for level in student)
    assert all(level.grad is None for level in teacher)


def test_errors():
    student, teacher = pair()
    with pytest.raises(ValueError, match='^fsp_loss compares pairs of stages: it needs 2, got 1$'):
        fsp_loss(student[:1], teacher[:1])
    with pytest.raises(ValueError, match=r'^level 1: student and teacher must share a shape'):
        fsp_loss(student, [teacher[0], teacher[2], teacher[1]])
    with pytest.raises(ValueError, match='^margin must not be negative, got -1$'):
        ABLoss(margin=-1)
    with pytest.raises(ValueError, match='^margin must not be negative, got -1$'):
        ab_loss(student, teacher, margin=-1)
    for loss in (fsp_loss, ab_loss):
        with pytest.raises(TypeError, match='must be a list of tensors, one per level'):
            loss(student[0], teacher)
