"""LD, the Wasserstein distance and GIoU of boxes' sides: MMDetection, POT, gradients, errors."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close
from torchvision.ops import generalized_box_iou_loss

from wkd_det.functional import box_giou_loss, box_wasserstein_loss, ld_loss
from wkd_det.losses import BoxGIoULoss, BoxWassersteinLoss, LDLoss
from wkd_det.losses.boxes import generalized_iou_loss

LOSSES = {
    'LD': (ld_loss, LDLoss, {}),
    'W1': (box_wasserstein_loss, BoxWassersteinLoss, {}),
    'GIoU': (box_giou_loss, BoxGIoULoss, {}),
    'W2': (box_wasserstein_loss, BoxWassersteinLoss, dict(order=2)),
}
EACH = pytest.mark.parametrize('name', LOSSES)


def sides(places=5, bins=17, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(2, places, 4, bins, generator=generator, dtype=torch.float64)


def test_ld_is_that_of_mmdetection_but_for_the_mean_over_bins():
    student, teacher = sides()
    weight = torch.rand(5, dtype=torch.float64)
    reference = MODELS.build(dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10))
    expected = reference(
        student.flatten(0, 1), teacher.flatten(0, 1),
        weight=weight[:, None].expand(-1, 4).reshape(-1), avg_factor=4.0,
    )  # fmt: skip
    found = LDLoss(temperature=10.0, loss_weight=0.25 / 17)(student, teacher, weight, 1.0)
    assert_close(found, expected)


@pytest.mark.parametrize('order', [1, 2])
def test_transport_is_that_of_pot(order):
    student, teacher = sides(3)
    bins = np.arange(17.0)
    cost = np.abs(bins[:, None] - bins) ** order
    pairs = zip(*((z / 2).softmax(-1).reshape(-1, 17).numpy() for z in (student, teacher)))
    expected = np.mean([ot.emd2(one, other, cost) for one, other in pairs])
    found = box_wasserstein_loss(student, teacher, order=order, temperature=2.0)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_the_unit_is_a_bin_and_a_divergence_knows_none():
    """A side that is certain and wrong by one bin or by ten."""
    certain = 50 * torch.eye(17)[:, None, :]  # at each bin
    for wrong in (1, 10):
        pair = certain[wrong][None], certain[0][None]
        assert_close(box_wasserstein_loss(*pair), torch.tensor(float(wrong)))
        assert_close(box_wasserstein_loss(*pair, order=2), torch.tensor(float(wrong**2)))
        assert_close(ld_loss(*pair, temperature=1.0), torch.tensor(50.0))


def test_giou_is_that_of_mmdetection_on_the_boxes_of_its_head():
    """Its integral and its coder, around any place."""
    student, teacher = (one.float() for one in sides())
    head = MODELS.build(dict(type='GFLHead', num_classes=2, in_channels=32, feat_channels=32,
                             anchor_generator=dict(type='AnchorGenerator', ratios=[1.0],
                                                   octave_base_scale=8, scales_per_octave=1,
                                                   strides=[8])))  # fmt: skip
    centre = torch.tensor([[30.0, 50.0]]).expand(5, -1)
    boxes = [
        head.bbox_coder.decode(centre, head.integral(one.flatten(1))) for one in (student, teacher)
    ]
    weight = torch.rand(5)
    expected = MODELS.build(dict(type='GIoULoss'))(*boxes, weight=weight, avg_factor=2.0)
    assert_close(box_giou_loss(student, teacher, weight=weight, avg_factor=2.0), expected)


def test_giou_of_torchvision_and_of_boxes_without_an_area():
    generator = torch.Generator().manual_seed(0)
    corner, extent = torch.rand(2, 40, 2, generator=generator, dtype=torch.float64)
    boxes = torch.cat([2 * corner, 2 * corner + extent + 0.01], dim=1)
    pair = boxes[:20], boxes[20:]
    expected = generalized_box_iou_loss(*pair, eps=0)
    assert_close(generalized_iou_loss(*pair), expected)
    nothing = torch.zeros(1, 4, requires_grad=True)
    value = generalized_iou_loss(nothing, nothing.detach())
    value.backward()
    assert value.isfinite()
    assert nothing.grad.isfinite().all()


@EACH
def test_gradcheck_and_no_gradient_for_the_teacher(name):
    function, _, options = LOSSES[name]
    student, teacher = sides(2, bins=5)
    weight = torch.tensor([0.5, 2.0], dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()

    def value(own):
        return function(own, teacher.detach(), weight=weight, avg_factor=1.5, **options)

    assert torch.autograd.gradcheck(value, student)
    function(student, teacher, **options).backward()
    assert teacher.grad is None


@EACH
def test_equal_distributions_cost_nothing(name):
    function, _, options = LOSSES[name]
    student = sides()[0].requires_grad_()
    value = function(student, student.detach(), **options)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


@EACH
def test_weights_and_divisor(name):
    function, kind, options = LOSSES[name]
    student, teacher = sides(3)
    each = torch.stack(
        [function(student[i : i + 1], teacher[i : i + 1], **options) for i in range(3)]
    )
    assert_close(function(student, teacher, **options), each.mean())
    weight = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    expected = (weight * each).sum() / 4
    assert_close(function(student, teacher, weight=weight, avg_factor=4.0, **options), expected)
    loss = kind(loss_weight=2.0, **options)
    assert_close(loss(student, teacher, weight=weight, avg_factor=4.0), 2 * expected)
    assert loss.takes == 'box_distributions'
    assert type(MODELS.build(dict(type=kind.__name__))) is kind


@EACH
def test_no_places_and_half_precision(name):
    function, _, options = LOSSES[name]
    nothing = torch.zeros(0, 4, 17, requires_grad=True)
    value = function(nothing, nothing.detach(), avg_factor=torch.tensor(1.0), **options)
    value.backward()
    assert value == 0
    assert nothing.grad.shape == (0, 4, 17)
    student, teacher = (one.bfloat16() for one in sides())
    expected = function(student.float(), teacher.float(), **options)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert function(student, teacher, **options) == expected
    large = torch.full((1, 4, 17), 6e4, dtype=torch.float16)
    large[..., 0] = -6e4
    large.requires_grad_()
    value = function(large, large.detach().flip(-1), **options)
    value.backward()
    assert value.isfinite()
    assert large.grad.isfinite().all()


@EACH
def test_errors(name):
    function, kind, options = LOSSES[name]
    message = r'share a shape \(R, S, B\) with at least 2 bins, got \(2, 4, 5\) and \(2, 4, 6\)'
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(2, 4, 5), torch.zeros(2, 4, 6), **options)
    with pytest.raises(ValueError, match='at least 2 bins'):
        function(torch.zeros(2, 4, 1), torch.zeros(2, 4, 1), **options)
    if name != 'GIoU':
        with pytest.raises(ValueError, match='temperature must be positive, got 0'):
            kind(temperature=0)
    with pytest.raises(ValueError, match='loss_weight must not be negative, got -1'):
        kind(loss_weight=-1)


def test_errors_of_sides_and_order():
    with pytest.raises(ValueError, match='boxes have 4 sides, got 2'):
        box_giou_loss(torch.zeros(1, 2, 5), torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match='order must be 1 or 2, got 3'):
        BoxWassersteinLoss(order=3)
