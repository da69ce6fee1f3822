"""Offsets and boxes: worked by hand, DIoU of torchvision and MMDetection, gradients, no RoIs."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close
from torchvision.ops import distance_box_iou_loss

from wkd_det.losses.boxes import (
    BoxLoss,
    OffsetLoss,
    distance_iou_loss,
    offset_loss,
    squared_offset_distance,
)

# Offsets


def test_offsets_one_value_per_roi_and_their_mean_by_hand():
    student = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    teacher = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert_close(squared_offset_distance(student, teacher), torch.tensor([5.0, 0.0]))
    assert_close(offset_loss(student, teacher), torch.tensor(5 / 4))


def test_offsets_gradcheck_and_no_gradient_for_the_teacher():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: offset_loss(s, teacher), student)
    offset_loss(student, teacher).backward()
    assert teacher.grad is None


def test_offsets_of_no_rois_give_zero_with_a_graph():
    student = torch.zeros(0, 4, requires_grad=True)
    loss = offset_loss(student, torch.zeros(0, 4))
    assert loss == 0
    loss.backward()


def test_offsets_in_half_precision_is_promoted():
    student = torch.full((1, 4), 300.0, dtype=torch.float16)  # its square is out of range
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert_close(offset_loss(student, 0 * student), torch.tensor(9e4))


def test_errors_of_offsets_name_both_shapes():
    with pytest.raises(ValueError, match=r'share a shape \(R, D\), got \(2, 4\) and \(2, 8\)'):
        offset_loss(torch.zeros(2, 4), torch.zeros(2, 8))


def test_offset_module_is_the_function_times_the_weight():
    student, teacher = torch.randn(2, 5, 8)
    assert MODELS.build(dict(type='OffsetLoss'))(student, teacher) == offset_loss(student, teacher)
    scaled = OffsetLoss(loss_weight=3.0)
    assert scaled(student, teacher) == 3 * offset_loss(student, teacher)
    assert scaled.takes == 'offsets'


# Boxes


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner, extent = torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * 40
    return torch.cat([corner, corner + extent + 1], dim=1)


def test_offsets_and_boxes_by_hand():
    """Offsets 3 and 4 apart: 25. Boxes of 2 x 2 side by side: IoU 0, centres 2 apart in a
    rectangle of 4 x 2, DIoU -4 / 20, so 20 (1 + 1/5) = 24."""
    student = torch.tensor([[0.0, 0, 0, 0]])
    teacher = torch.tensor([[3.0, 4, 0, 0]])
    boxes = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[2.0, 0, 4, 2]])
    loss = MODELS.build(dict(type='BoxLoss'))
    # 1e-6 is added to areas of some square pixels.
    assert_close(loss(student, teacher, *boxes), torch.tensor(49.0), rtol=1e-5, atol=0)
    assert loss.takes == 'boxes'
    halved = BoxLoss(diou_weight=0.0, loss_weight=0.5)
    assert halved(student, teacher, *boxes) == 12.5


def test_equal_boxes_cost_nothing():
    boxes, offsets = random_boxes(5), torch.randn(5, 4)
    loss = BoxLoss()(offsets, offsets, boxes, boxes)
    assert loss.item() == pytest.approx(0, abs=2e-5)  # 20 x 1e-6 over an area of 1 at least


def test_the_boxes_part_is_the_distance_iou_of_torchvision():
    student, teacher = random_boxes(20, 1), random_boxes(20, 2)
    offsets = torch.zeros(20, 4, dtype=torch.float64)
    expected = 20 * distance_box_iou_loss(student, teacher, reduction='mean')
    # Each adds an epsilon of its own, 1e-6 at most, to areas of a square pixel and more.
    assert_close(BoxLoss()(offsets, offsets, student, teacher), expected, rtol=1e-5, atol=0)


def test_diou_is_that_of_mmdetection_bit_for_bit():
    """Also where boxes are equal, empty, turned over, inside each other or far apart."""
    student, teacher = random_boxes(50, 1), random_boxes(50, 2)
    student[:5] = teacher[:5]
    student[5] = teacher[5] = 0
    student[6] = torch.tensor([9.0, 9, 3, 3])
    student[7] = torch.cat([teacher[7, :2] + 0.1, teacher[7, 2:] - 0.1])
    student[8] = teacher[8] + 1000
    reference = MODELS.build(dict(type='DIoULoss', reduction='none'))
    weight = torch.rand(50)
    for dtype in (torch.float32, torch.float64):
        results = []
        for function in (distance_iou_loss, reference):
            boxes = [one.to(dtype).requires_grad_() for one in (student, teacher)]
            value = function(*boxes)
            results.append((value, *torch.autograd.grad(value @ weight.to(dtype), boxes)))
        for one, other in zip(*results):
            assert torch.equal(one, other)


def test_gradcheck_and_no_gradient_for_the_teacher():
    offsets = torch.randn(2, 3, 4, dtype=torch.float64)
    arguments = (*offsets, random_boxes(3, 1), random_boxes(3, 2))
    for argument in arguments:
        argument.requires_grad_()
    student, teacher, student_boxes, teacher_boxes = (a.clone().detach() for a in arguments)
    student.requires_grad_()
    student_boxes.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda own, boxes: BoxLoss()(own, teacher, boxes, teacher_boxes), (student, student_boxes)
    )
    teacher.requires_grad_()
    teacher_boxes.requires_grad_()
    BoxLoss()(student, teacher, student_boxes, teacher_boxes).backward()
    assert teacher.grad is None
    assert teacher_boxes.grad is None


def test_no_rois_and_boxes_without_an_area_stay_finite():
    empty = torch.zeros(0, 4, requires_grad=True)
    loss = BoxLoss()(empty, empty, empty, empty)
    assert loss == 0
    loss.backward()
    point = torch.zeros(1, 4, requires_grad=True)
    loss = BoxLoss()(point, point.detach(), point, point.detach())
    loss.backward()
    assert loss.isfinite()
    assert point.grad.isfinite().all()


def test_half_precision_is_promoted():
    boxes = random_boxes(3).half()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert BoxLoss()(boxes, boxes, boxes, boxes).dtype == torch.float32


def test_errors():
    boxes = random_boxes(2)
    with pytest.raises(ValueError, match=r'of the offsets \(2, 4\), got \(1, 4\) and \(2, 4\)'):
        BoxLoss()(boxes, boxes, boxes[:1], boxes)
    with pytest.raises(ValueError, match='diou_weight must not be negative, got -1'):
        BoxLoss(diou_weight=-1)
