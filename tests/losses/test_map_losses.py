"""Properties that the losses of maps without parameters share, as functions and as modules."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from measured_calls import value_and_gradient
from random_tensors import maps
from wkd_det.losses.at import at_loss
from wkd_det.losses.fitnet import fitnet_loss
from wkd_det.losses.ft import ft_loss
from wkd_det.losses.ickd import ickd_loss
from wkd_det.losses.nst import nst_loss
from wkd_det.losses.pkd import pkd_loss
from wkd_det.losses.sp import sp_loss
from wkd_det.ops.maps import pooled

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations


def plain_ickd_loss(*args, **kwargs):
    return ickd_loss(*args, normalize=False, **kwargs)


OF_ONE_WIDTH = [fitnet_loss, ickd_loss, plain_ickd_loss, pkd_loss]
OF_ANY_WIDTH = [nst_loss, at_loss, ft_loss, sp_loss]
LOSSES = pytest.mark.parametrize('loss', [*OF_ONE_WIDTH, *OF_ANY_WIDTH])
EACH_IMAGE_ALONE = pytest.mark.parametrize(
    'loss', [fitnet_loss, nst_loss, ickd_loss, at_loss, ft_loss]
)


def random_mask(samples=2, height=4, width=5, *, share=0.6, seed=0):
    return torch.rand(samples, height, width, generator=torch.Generator().manual_seed(seed)) < share


@LOSSES
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(4, 5), (1, 1), (9, 9)])
def test_student_equal_to_teacher_has_value_and_gradient_zero(loss, dtype, size):
    _, teacher = maps(2, 5, *size, dtype=dtype)
    for features in (teacher, 0 * teacher, 0 * teacher + 3):
        value, grad = value_and_gradient(loss, features, features)
        # Equal matrix products of tensors at other addresses may differ in the last bit.
        assert abs(value.item()) <= 1e-12
        assert grad.abs().max() <= 1e-6


@EACH_IMAGE_ALONE
def test_mean_over_images_weight_and_avg_factor(loss):
    student, teacher = maps(3, 3, 4, 5)
    each = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)])
    assert_close(loss(student, teacher), each.mean(), **EXACT)
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    value = loss(student, teacher, weight=weight, avg_factor=2.0)
    assert_close(value, (weight * each).sum() / 2, **EXACT)


@LOSSES
def test_mask_is_a_crop_where_it_is_one(loss):
    student, teacher = maps(2, 3, 4, 5)
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[:, :3, :2] = True
    cropped = loss(student[:, :, :3, :2], teacher[:, :, :3, :2])
    assert_close(loss(student, teacher, mask=mask), cropped, **EXACT)


@LOSSES
@pytest.mark.parametrize('filling', [math.inf, math.nan, 6e4])
def test_padding_may_hold_anything(loss, filling):
    student, teacher = maps(2, 3, 4, 5, dtype=torch.float32)
    mask = random_mask()
    padding = ~mask[:, None]
    clean = value_and_gradient(loss, student, teacher, mask=mask)
    dirty = value_and_gradient(
        loss, student.masked_fill(padding, filling), teacher.masked_fill(padding, -filling),
        mask=mask,
    )  # fmt: skip
    for one, other in zip(dirty, clean):
        assert torch.equal(one, other)
    assert (dirty[1].masked_select(padding) == 0).all()


@LOSSES
def test_images_without_a_pixel_give_nothing(loss):
    student, teacher = maps(2, 3, 4, 5)
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    value, grad = value_and_gradient(loss, student, teacher, mask=mask)
    assert value.item() == 0
    assert (grad == 0).all()


@LOSSES
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('size', [(2, 3), (1, 2)])
def test_gradcheck(loss, masked, size):
    student, teacher = maps(2, 3, *size)
    mask = random_mask(2, *size) if masked else None
    assert torch.autograd.gradcheck(
        lambda student: loss(student, teacher, mask=mask), (student.requires_grad_(),)
    )


@LOSSES
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(loss, dtype, samples):
    student, teacher = maps(samples, 3, 4, 5, dtype=dtype)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value.item() == 0


@pytest.mark.parametrize('loss', [fitnet_loss, ickd_loss, pkd_loss, *OF_ANY_WIDTH])
@pytest.mark.parametrize('size', [(8, 8), (1, 2)])
def test_large_features_stay_finite(loss, size):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 6e4 * (2 * torch.rand(2, 2, 5, *size, generator=generator) - 1)
    student[0], teacher[0] = 6e4, -6e4
    value, grad = value_and_gradient(loss, student, teacher)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


@LOSSES
def test_the_teacher_gets_no_gradient(loss):
    student, teacher = (features.requires_grad_() for features in maps(2, 3, 4, 5))
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


@pytest.mark.parametrize('loss', OF_ANY_WIDTH)
@pytest.mark.parametrize('masked', [False, True])
def test_channels_may_be_repeated(loss, masked):
    student, teacher = maps(2, 3, 4, 5)
    mask = random_mask() if masked else None
    expected = loss(student, teacher, mask=mask)
    for own, other in (
        (student, torch.cat([teacher, teacher], 1)),
        (student.repeat(1, 3, 1, 1), teacher),
    ):
        assert_close(loss(own, other, mask=mask), expected, **EXACT)


@pytest.mark.parametrize('loss', [nst_loss, at_loss, ft_loss])
def test_the_larger_map_is_averaged_first(loss):
    (student, _), (_, teacher) = maps(2, 3, 4, 6), maps(2, 5, 2, 3)
    small = pooled(student, (2, 3))
    assert_close(small[0, 0, 0, 0], student[0, 0, :2, :2].mean())
    assert_close(loss(student, teacher), loss(small, teacher), **EXACT)
    assert_close(loss(teacher, student), loss(teacher, small), **EXACT)


@pytest.mark.parametrize('loss', OF_ONE_WIDTH)
def test_wrong_shapes(loss):
    with pytest.raises(ValueError, match=r'share a shape .* got \(2, 3, 4, 4\) and \(2, 3, 4, 5\)'):
        loss(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 5))
    with pytest.raises(ValueError, match='mask must be bool .* got torch.float32'):
        loss(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4), mask=torch.ones(2, 4, 4))


@pytest.mark.parametrize('loss', OF_ANY_WIDTH)
def test_wrong_shapes_where_widths_may_differ(loss):
    shapes = r'got \(2, 3, 4, 4\) and \(3, 3, 4, 4\); only C, H and W may differ$'
    with pytest.raises(ValueError, match=rf'share a shape \(N, C, H, W\), {shapes}'):
        loss(torch.ones(2, 3, 4, 4), torch.ones(3, 3, 4, 4))
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    with pytest.raises(
        ValueError, match=r'got \(2, 3, 4, 4\) and \(2, 5, 4, 5\); only C may differ$'
    ):
        loss(torch.ones(2, 3, 4, 4), torch.ones(2, 5, 4, 5), mask=mask)


# Modules


MODULES = dict(
    ATLoss=at_loss,
    FitNetLoss=fitnet_loss,
    ICKDLoss=ickd_loss,
    NSTLoss=nst_loss,
    PKDLoss=pkd_loss,
    SPLoss=sp_loss,
)


@pytest.mark.parametrize('kind', MODULES)
@pytest.mark.parametrize('loss_weight', [1.0, 6.0, 0.0])
def test_modules_are_the_function_times_the_weight(kind, loss_weight):
    student, teacher = maps(2, 3, 4, 5, dtype=torch.float32)
    loss = copy.deepcopy(MODELS.build(dict(type=kind, loss_weight=loss_weight)))
    assert loss.takes == 'features'
    assert loss.mixes_widths is (MODULES[kind] in OF_ANY_WIDTH)
    assert not loss.state_dict()
    for mask in (None, random_mask()):
        expected = loss_weight * MODULES[kind](student, teacher, mask=mask)
        assert torch.equal(loss(student, teacher, mask=mask), expected)
