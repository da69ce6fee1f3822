"""FitNet, NST, ICKD-C and PKD: by hand, as their papers write them, and what all must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.functional import feature_distribution_loss, fitnet_loss, ickd_loss, nst_loss, pkd_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations


def plain_ickd_loss(*args, **kwargs):
    return ickd_loss(*args, normalize=False, **kwargs)


LOSSES = pytest.mark.parametrize(
    'loss', [fitnet_loss, nst_loss, ickd_loss, plain_ickd_loss, pkd_loss]
)
EACH_IMAGE_ALONE = pytest.mark.parametrize('loss', [fitnet_loss, nst_loss, ickd_loss])


def maps(samples=2, channels=3, height=4, width=5, *, seed=0, dtype=torch.float64):
    """Student and teacher."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, samples, channels, height, width)
    both = torch.randn(shape, generator=generator, dtype=torch.float64)
    both[1] = 0.5 + 1.5 * both[1]
    return both.to(dtype).unbind(0)


def random_mask(samples=2, height=4, width=5, *, share=0.6, seed=0):
    return torch.rand(samples, height, width, generator=torch.Generator().manual_seed(seed)) < share


def value_and_gradient(loss, student, teacher, **arguments):
    student = student.detach().clone().requires_grad_()
    value = loss(student, teacher, **arguments)
    value.backward()
    return value.detach(), student.grad


# By hand: two channels of two pixels


STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_fitnet_by_hand():
    assert fitnet_loss(STUDENT, TEACHER).item() == (9 + 4 + 1 + 4) / 4 / 2


def test_nst_by_hand():
    # Of length 1: student (.6, .8) and (1, 0); teacher (0, 1) and (1, 1) / sqrt 2.
    half = math.sqrt(0.5)
    own = (1 + 2 * 0.6**2 + 1) / 4
    teacher = (1 + 2 * half**2 + 1) / 4
    crossed = (0.8**2 + (1.4 * half) ** 2 + 0 + half**2) / 4
    assert nst_loss(STUDENT, TEACHER).item() == pytest.approx(own + teacher - 2 * crossed)


def test_ickd_by_hand():
    # Products of the channels: student [[25, 3], [3, 1]], teacher [[4, 4], [4, 8]].
    expected = (21**2 + 2 * 1**2 + 7**2) / 4
    assert ickd_loss(STUDENT, TEACHER, normalize=False).item() == pytest.approx(expected)
    rows = [np.array(row) / np.linalg.norm(row) for row in ([25, 3], [3, 1], [4, 4], [4, 8])]
    expected = (((rows[0] - rows[2]) ** 2).sum() + ((rows[1] - rows[3]) ** 2).sum()) / 2
    assert ickd_loss(STUDENT, TEACHER).item() == pytest.approx(expected)


def test_pkd_by_hand():
    # Two values of a channel correlate by 1 or -1, or not at all if they are equal.
    # First channel: both rise. Second channel: the teacher's is constant, so 0 there, and the
    # student's are +-1/sqrt 2.
    assert pkd_loss(STUDENT, TEACHER).item() == pytest.approx((0 + 0.5) / 2 / 2, abs=1e-5)


# As written


def test_nst_is_the_discrepancy_of_the_kernel():
    student, teacher = maps()
    total = 0.0
    for own, other in zip(student.flatten(2), teacher.flatten(2)):
        own, other = F.normalize(own, dim=1), F.normalize(other, dim=1)
        for one, two, sign in ((own, own, 1), (other, other, 1), (own, other, -2)):
            total += sign * (one @ two.t()).square().mean()
    assert_close(nst_loss(student, teacher), total / 2, **EXACT)


def test_nst_and_ickd_are_the_second_moments_of_the_family():
    student, teacher = maps()
    unit = [F.normalize(f.flatten(2), dim=2).view_as(f) for f in (student, teacher)]
    moments = dict(distance='frobenius')
    spatial = feature_distribution_loss(*unit, distribution='spatial_gram', **moments)
    assert_close(nst_loss(student, teacher), spatial, **EXACT)
    channel = feature_distribution_loss(student, teacher, distribution='channel_gram', **moments)
    value = ickd_loss(student, teacher, normalize=False)
    assert_close(value, channel * (20 / 3) ** 2, **EXACT)


@pytest.mark.parametrize('masked', [False, True])
def test_pkd_is_one_minus_the_correlation(masked):
    student, teacher = maps()
    mask = random_mask() if masked else torch.ones(2, 4, 5, dtype=torch.bool)
    count = int(mask.sum())
    each = [
        1 - np.corrcoef(student[:, channel][mask], teacher[:, channel][mask])[0, 1]
        for channel in range(3)
    ]
    # Images of different size weigh the same in ours; one weight a pixel makes the sum the plain.
    pixels = mask.flatten(1).sum(dim=1).double()
    value = pkd_loss(student, teacher, mask=mask, weight=pixels, avg_factor=count)
    # 1e-6 is added to the deviations.
    assert value.item() == pytest.approx((count - 1) / count * np.mean(each), rel=1e-5)


def test_pkd_does_not_see_scale_and_offset_of_channels():
    student, teacher = maps()
    scale = torch.tensor([0.1, 3.0, 50.0], dtype=torch.float64).view(3, 1, 1)
    moved = pkd_loss(scale * student + 7 * scale, teacher)
    assert_close(moved, pkd_loss(student, teacher), rtol=1e-4, atol=0)  # 1e-6 / 0.1


def test_nst_and_ickd_do_not_see_scale():
    student, teacher = maps()
    for loss in (nst_loss, ickd_loss):
        assert_close(loss(50 * student, 0.1 * teacher), loss(student, teacher), **EXACT)


# All of them


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
    student, teacher = maps(3)
    each = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)])
    assert_close(loss(student, teacher), each.mean(), **EXACT)
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    value = loss(student, teacher, weight=weight, avg_factor=2.0)
    assert_close(value, (weight * each).sum() / 2, **EXACT)


@LOSSES
def test_mask_is_a_crop_where_it_is_one(loss):
    student, teacher = maps()
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[:, :3, :2] = True
    cropped = loss(student[:, :, :3, :2], teacher[:, :, :3, :2])
    assert_close(loss(student, teacher, mask=mask), cropped, **EXACT)


@LOSSES
@pytest.mark.parametrize('filling', [math.inf, math.nan, 6e4])
def test_padding_may_hold_anything(loss, filling):
    student, teacher = maps(dtype=torch.float32)
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
    student, teacher = maps()
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
    student, teacher = maps(samples, dtype=dtype)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value.item() == 0


@pytest.mark.parametrize('loss', [fitnet_loss, nst_loss, ickd_loss, pkd_loss])
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
    student, teacher = (features.requires_grad_() for features in maps())
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


@LOSSES
def test_wrong_shapes(loss):
    with pytest.raises(ValueError, match=r'share a shape .* got \(2, 3, 4, 4\) and \(2, 3, 4, 5\)'):
        loss(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 5))
    with pytest.raises(ValueError, match='mask must be bool .* got torch.float32'):
        loss(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4), mask=torch.ones(2, 4, 4))
