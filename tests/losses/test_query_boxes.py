"""Distance of the boxes of queries: closed forms, torchvision, gradients, weights, errors."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torchvision.ops import box_convert, generalized_box_iou_loss

from wkd_det.functional import query_box_loss
from wkd_det.losses import QueryBoxLoss


def boxes(count=6, seed=0):
    """Two sets of boxes inside the image."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(2, count, 4, generator=generator, dtype=torch.float64)
    return 0.1 + 0.4 * drawn


def test_boxes_side_by_side():
    """Two halves of the image: the centres are 1/2 apart, and they do not overlap."""
    left, right = torch.tensor([[[0.25, 0.5, 0.5, 1.0]], [[0.75, 0.5, 0.5, 1.0]]])
    assert_close(query_box_loss(left, right), torch.tensor(5 * 0.5 + 2 * 1.0))
    assert_close(query_box_loss(left, right, l1_weight=0.0), torch.tensor(2.0))
    assert_close(query_box_loss(left, right, giou_weight=0.0), torch.tensor(2.5))


def test_equal_boxes_cost_nothing():
    student, _ = boxes()
    assert_close(query_box_loss(student, student), torch.zeros((), dtype=torch.float64))


def test_parts_are_those_of_torchvision():
    student, teacher = boxes()
    corners = [box_convert(one, 'cxcywh', 'xyxy') for one in (student, teacher)]
    giou = generalized_box_iou_loss(*corners)
    each = 3 * (student - teacher).abs().sum(1) + 4 * giou
    found = query_box_loss(student, teacher, l1_weight=3, giou_weight=4)
    assert_close(found, each.mean(), rtol=1e-6, atol=1e-9)  # its guard is 1e-7 in shares
    weight = torch.rand(6, dtype=torch.float64)
    found = query_box_loss(
        student, teacher, l1_weight=3, giou_weight=4, weight=weight, avg_factor=2.5
    )
    assert_close(found, (weight * each).sum() / 2.5, rtol=1e-6, atol=1e-9)


def test_giou_knows_no_unit():
    """Of a box of a thousandth of a side as of a large one."""
    student, teacher = boxes()
    giou = dict(l1_weight=0.0)
    small = query_box_loss(student / 500, teacher / 500, **giou)
    assert_close(small, query_box_loss(student, teacher, **giou), rtol=1e-6, atol=0)


def test_gradients():
    student, teacher = boxes()
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: query_box_loss(one, teacher), (student,))
    query_box_loss(student, teacher).backward()
    assert teacher.grad is None


def test_no_pairs_and_half_precision():
    student = torch.zeros(0, 4, requires_grad=True)
    loss = query_box_loss(student, torch.zeros(0, 4), avg_factor=1.0)
    loss.backward()
    assert loss == 0
    assert student.grad.shape == (0, 4)
    one, other = (part.to(torch.bfloat16) for part in boxes())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = query_box_loss(one, other)
    assert loss.dtype == torch.float32
    assert_close(loss, query_box_loss(one.float(), other.float()))


def test_the_module_is_the_function():
    student, teacher = (one.float() for one in boxes())
    weight = torch.rand(6)
    loss = QueryBoxLoss(l1_weight=3, giou_weight=4, loss_weight=0.5)
    expected = query_box_loss(student, teacher, l1_weight=3, giou_weight=4, weight=weight)
    assert_close(loss(student, teacher, weight), 0.5 * expected)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(student=[[0.0] * 4]), TypeError, 'student must be a tensor'),
        (dict(student=torch.zeros(2, 3)), ValueError, r'share a shape \(R, 4\), got \(2, 3\)'),
        (dict(teacher=torch.zeros(3, 4)), ValueError, r'got \(2, 4\) and \(3, 4\)'),
        (dict(l1_weight=-1), ValueError, 'l1_weight must .* -1'),
        (dict(giou_weight=-1), ValueError, 'giou_weight must .* -1'),
    ],
)
def test_errors(change, error, message):
    given = dict(student=torch.zeros(2, 4), teacher=torch.zeros(2, 4))
    with pytest.raises(error, match=message):
        query_box_loss(**{**given, **change})


@pytest.mark.parametrize('name', ['l1_weight', 'giou_weight', 'loss_weight'])
def test_negative_weights(name):
    with pytest.raises(ValueError, match=f'{name} must'):
        QueryBoxLoss(**{name: -1.0})
