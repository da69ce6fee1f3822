"""The operators that stand in for a compiled mmcv: by hand, by other code, and by mmcv itself.

They are called as ``mmcv.ops`` calls them, with its module of kernels exchanged. Where mmcv is
compiled, each is compared with it, value and gradient.
"""

from __future__ import annotations

import itertools
import math
import sys

import mmcv.ops
import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torchvision.ops import DeformConv2d, box_iou

from wkd_det.runtime.found import mmcv_operators
from wkd_det_standin import ext

USERS = (
    'bbox', 'carafe', 'deform_conv', 'focal_loss', 'modulated_deform_conv',
    'multi_scale_deform_attn', 'nms', 'roi_align', 'roi_pool',
)  # fmt: skip
COMPILED = sys.modules['mmcv._ext'] if mmcv_operators() == 'compiled' else None
WIDTHS = [torch.float64, torch.float32, torch.float16]


@pytest.fixture(autouse=True)
def standin(monkeypatch):
    """Let ``mmcv.ops`` use the stand-in; the function returned lets it use another module."""

    def use(kernels):
        for name in USERS:
            monkeypatch.setattr(sys.modules[f'mmcv.ops.{name}'], 'ext_module', kernels)

    use(ext)
    return use


def random_boxes(count=60, *, images=None):
    low, size = torch.rand(count, 2) * 60, torch.rand(count, 2) * 30
    boxes = torch.cat([low, low + size], dim=1)
    if images is None:
        return boxes
    return torch.cat([torch.randint(0, images, (count, 1)), boxes], dim=1)


def value_and_gradients(function, *inputs):
    """The result and its gradients for the inputs, weighed at random."""
    leaves = [item.detach().clone().requires_grad_() for item in inputs]
    result = function(*leaves)
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape).to(result)
    return [result.detach(), *torch.autograd.grad(result, leaves, weights)]


# By hand


def test_roi_align_of_a_ramp_is_its_middle():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    rois = torch.tensor([[0, 1.0, 2.0, 5.0, 6.0]])
    assert mmcv.ops.roi_align(ramp, rois, 1).item() == 2.5  # aligned: half a pixel to the left
    assert mmcv.ops.roi_align(ramp, rois, 1, 1.0, 0, 'avg', False).item() == 3.0
    assert mmcv.ops.roi_align(ramp, rois * 2, 1, 0.5).item() == 2.5


def test_roi_pool_takes_pixels_that_a_cell_touches():
    values = torch.arange(36.0).reshape(1, 1, 6, 6).requires_grad_()
    rois = torch.tensor([[0, 1.0, 1.0, 3.0, 2.0], [0, 9.0, 9.0, 12.0, 12.0]])
    pooled = mmcv.ops.roi_pool(values, rois, (1, 2))  # 1 to 4 in x, 1 to 3 in y: cells of 1.5 x 2
    assert pooled.tolist() == [[[[14.0, 15.0]]], [[[0.0, 0.0]]]]
    pooled.sum().backward()
    assert values.grad.nonzero()[:, 2:].tolist() == [[2, 2], [2, 3]]


@pytest.mark.parametrize(('offset', 'kept'), [(0, [1, 0]), (1, [1])])
def test_nms_counts_the_last_pixel_with_an_offset(offset, kept):
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 2.2]])
    scores = torch.tensor([0.5, 0.6])  # they overlap by 1 / 2.2, or 4 / 6.4
    assert mmcv.ops.nms(boxes, scores, 0.5, offset)[1].tolist() == kept


@pytest.mark.parametrize(
    ('method', 'factor'), [('naive', 0), ('linear', 0.5), ('gaussian', math.exp(-0.25 / 0.5))]
)
def test_soft_nms_lowers_by_the_overlap(method, factor):
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [9, 9, 10, 10]])
    scores = torch.tensor([0.9, 0.8, 0.1])
    dets, kept = mmcv.ops.soft_nms(boxes, scores, 0.5, 0.5, 1e-3, method)
    expected = sorted([0.9, 0.1, *([0.8 * factor] if factor else [])], reverse=True)
    assert dets[:, 4].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(dets[:, :4], boxes[kept])


def test_nms_match_groups_by_the_box_that_is_kept():
    boxes = torch.tensor([[0.0, 0, 4, 4], [9, 9, 11, 11], [0, 0, 4, 5], [0, 0, 4, 4.5]])
    dets = torch.cat([boxes, torch.tensor([[0.5], [0.7], [0.6], [0.4]])], dim=1)
    groups = [group.tolist() for group in mmcv.ops.nms_match(dets, 0.5)]
    assert groups == [[1], [2, 0, 3]]


def test_modulated_convolution_reads_offsets_of_a_larger_map_in_their_order():
    torch.manual_seed(0)
    maps, weight = torch.randn(1, 2, 3, 3), torch.randn(2, 2, 3, 3)
    small = torch.randn(1, 18, 3, 3), torch.rand(1, 9, 3, 3)
    large = [torch.zeros(1, part.shape[1], 6, 6) for part in small]
    for part, whole in zip(small, large):
        whole.view(-1)[: part.numel()] = part.view(-1)

    def convolve(offset, mask):
        return mmcv.ops.modulated_deform_conv2d(maps, offset, mask, weight, None, 1, 1)

    value, *grads = value_and_gradients(convolve, *small)
    same, *larger = value_and_gradients(convolve, *large)
    assert torch.equal(value, same)
    for grad, whole in zip(grads, larger):
        assert torch.equal(whole.view(-1)[: grad.numel()], grad.view(-1))
        assert not whole.view(-1)[grad.numel() :].any()


# By other code


@pytest.mark.parametrize('target', [[0, 3, 4], [4, 4, 4]], ids=['classes', 'background'])
def test_focal_loss_is_that_of_mmdet(target):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, dtype=torch.float64) * 4, torch.tensor(target)
    hits = torch.nn.functional.one_hot(target, 5)[:, :4]
    ours = value_and_gradients(
        lambda x: mmcv.ops.sigmoid_focal_loss(x, target, 2.0, 0.25, None, 'none'), logits
    )
    theirs = value_and_gradients(lambda x: py_sigmoid_focal_loss(x, hits, reduction='none'), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('aligned', [False, True])
def test_overlaps_are_those_of_torchvision(aligned):
    torch.manual_seed(0)
    first, second = random_boxes(20), random_boxes(20)
    expected = box_iou(first, second)
    expected = expected.diagonal() if aligned else expected
    found = mmcv.ops.bbox_overlaps(first, second, aligned=aligned)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    area = (first[:, 2:] - first[:, :2]).prod(1)
    inside = mmcv.ops.bbox_overlaps(first, first + 0, mode='iof', aligned=True)
    torch.testing.assert_close(inside * area, area)


def test_deformable_convolution_is_that_of_torchvision():
    torch.manual_seed(0)
    layer = DeformConv2d(4, 6, 3, stride=2, padding=1, groups=2).double()
    maps = torch.randn(2, 4, 7, 9, dtype=torch.float64)
    offset = torch.randn(2, 18, 4, 5, dtype=torch.float64)
    mask = torch.rand(2, 9, 4, 5, dtype=torch.float64)
    plain = mmcv.ops.deform_conv2d(maps, offset, layer.weight, 2, 1, 1, 2)
    torch.testing.assert_close(plain + layer.bias[:, None, None], layer(maps, offset))
    modulated = mmcv.ops.modulated_deform_conv2d(
        maps, offset, mask, layer.weight, layer.bias, 2, 1, 1, 2
    )
    torch.testing.assert_close(modulated, layer(maps, offset, mask))


def test_deformable_attention_is_the_torch_code_of_mmcv():
    torch.manual_seed(0)
    shapes = torch.tensor([[4, 5], [2, 3]])
    starts = torch.tensor([0, 20])
    value = torch.randn(2, 26, 2, 3, dtype=torch.float64)
    places = torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.float64)
    weights = torch.rand(2, 5, 2, 2, 3, dtype=torch.float64)
    ours = value_and_gradients(
        lambda v, p, w: MultiScaleDeformableAttnFunction.apply(v, shapes, starts, p, w, 64),
        value, places, weights,
    )  # fmt: skip
    theirs = value_and_gradients(
        lambda v, p, w: multi_scale_deformable_attn_pytorch(v, shapes, p, w),
        value, places, weights,
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs)


# By the derivative


def test_gradients_are_derivatives():
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.3, 0.7, 4.1, 3.6]], dtype=torch.float64)
    offset = torch.randn(1, 18, 5, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(1, 9, 5, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1, 5, 0, 2, 3] * 2)
    for function, inputs in (
        (lambda x: mmcv.ops.roi_align(x, rois, 2), [maps]),
        (lambda x: mmcv.ops.roi_pool(x, rois, 2), [maps]),
        (lambda x, o, w: mmcv.ops.deform_conv2d(x, o, w, 1, 1), [maps, offset, weight]),
        (
            lambda x, o, m, w, b: mmcv.ops.modulated_deform_conv2d(x, o, m, w, b, 1, 1),
            [maps, offset, mask, weight, bias],
        ),
        (
            lambda x: mmcv.ops.sigmoid_focal_loss(x.view(10, 5), target, 2.0, 0.25, None, 'sum'),
            [maps],
        ),
    ):
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


# Limits and types


def test_roi_align_of_bfloat16_is_that_of_float32_rounded():
    # Eighths of pixels and small integers, which bfloat16 holds exactly.
    maps = torch.randint(-8, 8, (2, 3, 8, 8)).float()
    rois = torch.tensor([[0, 1.0, 1.5, 5.0, 6.0], [1, 0.0, 2.0, 7.5, 7.0]])
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        given = maps.to(dtype, copy=True).requires_grad_()
        pooled = mmcv.ops.roi_align(given, rois.to(dtype), 2)
        pooled.sum().backward()
        assert pooled.dtype == given.grad.dtype == dtype
        results.append((pooled.detach(), given.grad))
    for one, other in zip(*results):
        assert torch.equal(one.bfloat16(), other)


def test_nothing_gives_nothing():
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    for pooling in (mmcv.ops.roi_align, mmcv.ops.roi_pool):
        pooled = pooling(maps, torch.zeros(0, 5), (7, 7))
        assert pooled.shape == (0, 3, 7, 7)
        assert not torch.autograd.grad(pooled.sum(), maps)[0].any()
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    assert mmcv.ops.nms(boxes, scores, 0.5)[1].shape == (0,)
    assert [len(part) for part in mmcv.ops.soft_nms(boxes, scores)] == [0, 0]
    assert mmcv.ops.nms_match(torch.zeros(0, 5), 0.5) == []
    logits = torch.zeros(0, 4, requires_grad=True)
    target = torch.zeros(0, dtype=torch.long)
    assert mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum') == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_boxes_are_compared_in_any_type(dtype):
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 8, 8]], dtype=dtype)
    scores = torch.tensor([0.5, 0.625, 0.75], dtype=dtype)
    dets, kept = mmcv.ops.nms(boxes, scores, 0.5)
    assert kept.tolist() == [2, 1]
    assert dets.dtype == dtype
    dets, kept = mmcv.ops.soft_nms(boxes, scores, 0.5, method='naive')
    assert kept.tolist() == [2, 1]
    assert dets.dtype == dtype
    assert mmcv.ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)[1].tolist() == [1, 0]


def test_deformable_convolution_of_bfloat16_has_no_kernel_on_a_cpu():
    maps, offset, weight = (
        torch.zeros(shape, dtype=torch.bfloat16)
        for shape in ((1, 2, 6, 6), (1, 18, 4, 4), (3, 2, 3, 3))
    )
    with pytest.raises(RuntimeError, match="not implemented for 'BFloat16'"):
        mmcv.ops.deform_conv2d(maps, offset, weight)


# What is refused


def test_what_has_no_kernel_says_its_name_when_it_is_called():
    message = r"^mmcv's carafe_forward needs a compiled mmcv: torchvision has no kernel for it$"
    with pytest.raises(NotImplementedError, match=message):
        mmcv.ops.carafe(torch.zeros(1, 4, 2, 2), torch.zeros(1, 25, 4, 4), 5, 1, 2)
    message = r"^mmcv's roi_align with pool_mode='max' needs a compiled mmcv: "
    with pytest.raises(NotImplementedError, match=message):
        mmcv.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, 'max')
    message = "^mmcv's sigmoid_focal_loss with weights of classes needs a compiled mmcv$"
    with pytest.raises(NotImplementedError, match=message):
        mmcv.ops.sigmoid_focal_loss(
            torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 2.0, 0.25, torch.ones(2)
        )
    with pytest.raises(AttributeError, match='no attribute'):
        ext._private  # noqa: B018


# By mmcv itself


def align(ratio, aligned, dtype):
    return value_and_gradients(
        lambda maps: mmcv.ops.roi_align(
            maps, random_boxes(7, images=2).to(dtype), (7, 5), 0.25, ratio, 'avg', aligned
        ),
        torch.randn(2, 3, 16, 20).to(dtype),
    )


def suppress(offset):
    return mmcv.ops.nms(random_boxes(), torch.rand(60), 0.4, offset)


def suppress_softly(method, offset):
    return mmcv.ops.soft_nms(random_boxes(), torch.rand(60), 0.3, 0.5, 0.05, method, offset)


def match():
    return mmcv.ops.nms_match(torch.cat([random_boxes(), torch.rand(60, 1)], dim=1), 0.4)


def overlap(mode, aligned, offset):
    return [mmcv.ops.bbox_overlaps(random_boxes(), random_boxes(), mode, aligned, offset)]


def deform(dtype):
    return value_and_gradients(
        lambda *inputs: mmcv.ops.deform_conv2d(*inputs, 2, 1, 1, 2, 2),
        torch.randn(2, 4, 7, 9).to(dtype),
        torch.randn(2, 36, 4, 5).to(dtype),
        torch.randn(6, 2, 3, 3).to(dtype),
    )


def deform_and_modulate(side, dtype):
    return value_and_gradients(
        lambda *inputs: mmcv.ops.modulated_deform_conv2d(*inputs, 2, 1, 1, 2, 2),
        torch.randn(2, 4, 7, 9).to(dtype),
        torch.randn(2, 36, *side).to(dtype),
        torch.rand(2, 18, *side).to(dtype),
        torch.randn(6, 2, 3, 3).to(dtype),
        torch.randn(6).to(dtype),
    )


CASES = [
    (function, arguments)
    for function, *choices in (
        (align, (0, 2), (True, False), WIDTHS),
        (suppress, (0, 1)),
        (suppress_softly, ('naive', 'linear', 'gaussian'), (0, 1)),
        (match,),
        (overlap, ('iou', 'iof'), (True, False), (0, 1)),
        (deform, WIDTHS),
        (deform_and_modulate, ((4, 5), (8, 10)), WIDTHS),
    )
    for arguments in itertools.product(*choices)
]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 1e-1}
"""Sums in another order: a few units in the last place of numbers of about 10."""


@pytest.mark.skipif(COMPILED is None, reason='there is no compiled mmcv to compare with')
@pytest.mark.parametrize(('function', 'arguments'), CASES)
def test_equal_to_compiled_mmcv(function, arguments, standin):
    results = []
    for kernels in (ext, COMPILED):
        standin(kernels)
        torch.manual_seed(0)
        results.append(function(*arguments))
    ours, theirs = results
    if function in (align, suppress, match):
        assert all(map(torch.equal, ours, theirs))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=TOLERANCE.get(own.dtype, 0))
