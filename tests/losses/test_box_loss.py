"""The box term: worked by hand, an independent DIoU, gradients, no RoIs and errors."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close
from torchvision.ops import distance_box_iou_loss

from wkd_det.losses import BoxLoss


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
    # mmdet adds 1e-6 to areas of some square pixels.
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
