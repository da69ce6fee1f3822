"""OFD: by hand, the reference values of two codes, margins, masks and errors; the module."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.ofd import OFDLoss, ofd_loss, ofd_margin


def pair(dtype=torch.float64, samples=2, widths=(3, 4)):
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(samples, width, 4, 5, generator=generator, dtype=torch.float64).to(dtype)
            for width in widths
        ]
        for _ in range(2)
    ]


MARGINS = [torch.tensor([-0.5, -1.0, -0.1]), torch.tensor([-0.2, -0.3, -0.4, -2.0])]


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [(0.0, 1.0, 1.0), (3.0, 1.0, 4.0), (0.0, -5.0, 4.0), (-7.0, -5.0, 0.0), (-1.5, -1.0, 0.0)],
)
def test_by_hand(student, teacher, expected):
    """The margin is -2: below it a student that is lower is left alone."""
    own, other = (torch.full((1, 1, 1, 1), value) for value in (student, teacher))
    assert ofd_loss([own], [other], [torch.tensor([-2.0])]).item() == expected


@pytest.mark.parametrize('case', ['ofd/0', 'ofd/mdistiller'])
def test_value_gradient_and_margin_are_the_references(case):
    """The references compute the margin in float32; the loss is checked with theirs."""
    fields = golden('ofd/0')
    student = fields['student'].requires_grad_()
    margin = ofd_margin(fields['bn_weight'], fields['bn_bias'])
    assert_close(margin, fields['margin'], rtol=1e-5, atol=1e-6)
    loss = ofd_loss([student], [fields['teacher']], [fields['margin']])
    check(case, loss, student=student)


def test_earlier_stages_count_half_of_the_next():
    student, teacher = pair()
    each = [ofd_loss([s], [t], [m]) for s, t, m in zip(student, teacher, MARGINS)]
    assert_close(ofd_loss(student, teacher, MARGINS), each[0] / 2 + each[1])


@pytest.mark.parametrize(('weight', 'bias'), [(1.0, 0.5), (-2.0, 0.0), (0.5, -3.0), (1.0, 2.9)])
def test_margins_are_means_of_the_negative_part(weight, bias):
    values = bias + weight * torch.randn(200000, generator=torch.Generator().manual_seed(0))
    margin = ofd_margin(torch.tensor([weight]), torch.tensor([bias])).item()
    negative = values[values < 0]
    error = 5 * negative.std().item() / len(negative) ** 0.5  # five standard errors
    assert margin == pytest.approx(negative.mean().item(), abs=error)


@pytest.mark.parametrize(('weight', 'bias', 'expected'), [(1, 4, -3), (-2, 9, -6), (0, 1, 0)])
def test_margins_where_nearly_nothing_is_negative(weight, bias, expected):
    margin = ofd_margin(torch.tensor([float(weight)]), torch.tensor([float(bias)]))
    assert margin.item() == expected


def test_only_pixels_of_the_image_count():
    student, teacher = pair()
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[..., 3:] = False
    cut = ofd_loss(*([level[..., :3] for level in maps] for maps in (student, teacher)), MARGINS)
    for maps in (student, teacher):
        for level in maps:
            level[..., 3:] = math.inf
    for level in student:
        level.requires_grad_()
    value = ofd_loss(student, teacher, MARGINS, mask=[mask, mask])
    assert_close(value, cut)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(value, student))


def test_gradcheck():
    student, teacher = pair()
    assert torch.autograd.gradcheck(
        lambda *own: ofd_loss(own, teacher, MARGINS), [level.requires_grad_() for level in student]
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher = pair(dtype, samples)
    expected = ofd_loss(*([x.float() for x in maps] for maps in (student, teacher)), MARGINS)
    student = [level.requires_grad_() for level in student]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = ofd_loss(student, teacher, MARGINS)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value == 0


def norms():
    torch.manual_seed(0)
    result = [nn.BatchNorm2d(3), nn.BatchNorm2d(4)]
    for norm in result:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return result


def test_the_module_takes_its_margins_from_the_teacher():
    student, teacher = ([level.requires_grad_() for level in maps] for maps in pair(torch.float32))
    loss = OFDLoss(teacher_norms=['a.bn', 'b.bn'], teacher_channels=(3, 4), loss_weight=0.5)
    assert loss.takes == 'pyramid'
    assert loss.teacher_modules == ('a.bn', 'b.bn')
    assert not loss.state_dict()
    loss.set_teacher_modules(norms())
    margins = [ofd_margin(norm.weight, norm.bias) for norm in norms()]
    value = loss(student, teacher)
    assert_close(value, 0.5 * ofd_loss(student, teacher, margins))
    value.backward()
    assert all(level.grad is None for level in teacher)
    assert loss.double().margin_0.dtype == torch.float64  # they move with the module


@pytest.mark.parametrize('names', [3, ['a.bn', 3]])
def test_names_of_norms(names):
    message = f'teacher_norms must be the name of a place or names of modules, got {names!r}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        OFDLoss(teacher_norms=names, teacher_channels=(3, 4))
    assert OFDLoss(teacher_channels=(3, 4)).teacher_modules == ('norms_before',)


AFFINE = 'teacher_norms[1] must be a batch normalisation with weight and bias, got'


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ([nn.ReLU()], f'{AFFINE} ReLU'),
        ([nn.BatchNorm2d(4, affine=False)], f'{AFFINE} BatchNorm2d'),
        ([nn.BatchNorm2d(5)], 'teacher_norms[1] must have 4 channels as the map, got 5'),
        ([], "teacher_norms must be 2, one for each stage, got ['norms_before'] of 1 modules"),
    ],
)
def test_norms_that_give_no_margin(given, message):
    loss = OFDLoss(teacher_channels=(3, 4))
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        loss.set_teacher_modules([norms()[0], *given])


def test_errors_of_tensors():
    student, teacher = pair()
    with pytest.raises(
        ValueError, match='^margin must have one tensor for each of 2 stages, got 1$'
    ):
        ofd_loss(student, teacher, MARGINS[:1])
    message = 'margin[1] must have one number for each of 4 channels, got the shape (3,)'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ofd_loss(student, teacher, [MARGINS[0], MARGINS[0]])
    with pytest.raises(TypeError, match=r'^margin\[0\] must be a tensor'):
        ofd_loss(student, teacher, [[0.0], MARGINS[1]])
    message = 'weight and bias must share a shape (C,), got (3,) and (2,)'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ofd_margin(torch.ones(3), torch.ones(2))
