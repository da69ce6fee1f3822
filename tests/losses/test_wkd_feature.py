"""WKD-F: closed forms, the reference's own numbers, full covariances; the module of the family."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from measured_calls import value_and_gradient
from random_tensors import maps, random_mask
from wkd_det.losses.wkd_feature import (
    COVARIANCES,
    FEATURE_DISTANCES,
    WKDFeatureLoss,
    feature_distribution_loss,
    wkd_feature_loss,
)

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
PAIRS = pytest.mark.parametrize(
    ('distribution', 'distance'), FEATURE_DISTANCES, ids=['-'.join(p) for p in FEATURE_DISTANCES]
)
KINDS = pytest.mark.parametrize('covariance', COVARIANCES)
EXACT = dict(rtol=1e-10, atol=1e-10)  # some hundred float64 operations


def wkd_f(student, teacher, **arguments):
    return value_and_gradient(wkd_feature_loss, student, teacher, **arguments)


@KINDS
@pytest.mark.parametrize('grid', [1, 3])
def test_a_shift_moves_the_means_only(covariance, grid):
    student, _ = maps()
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).view(3, 1, 1)
    value = wkd_feature_loss(
        student, student + shift, grid=grid, mean_cov_ratio=3.0, covariance=covariance
    )
    # The matrix roots are exact to 1e-9 of the variances.
    assert value.item() == pytest.approx(3.0 * (1 + 4 + 0.25), rel=1e-8)


@KINDS
def test_a_scale_moves_the_deviations_only(covariance):
    student, _ = maps()
    student = student - student.mean(dim=(2, 3), keepdim=True)
    value = wkd_feature_loss(student, 3 * student, covariance=covariance, eps=1e-12)
    variances = student.var(dim=(2, 3)).sum(dim=1)
    # (3 - 1)^2 tr cov, with roots of eps = 1e-12 left over.
    assert value.item() == pytest.approx(4 * variances.mean().item(), rel=1e-5)


@KINDS
def test_two_pixels(covariance):
    student = torch.tensor([0.0, 2.0], dtype=torch.float64).view(1, 1, 1, 2)  # mean 1, var 2
    teacher = torch.tensor([0.0, 6.0], dtype=torch.float64).view(1, 1, 1, 2)  # mean 3, var 18
    arguments = dict(mean_cov_ratio=0.5, covariance=covariance, eps=1e-12)
    value = wkd_feature_loss(student, teacher, **arguments)
    # Roots of variances near 1 with 1e-12 on them.
    assert value.item() == pytest.approx(0.5 * 4 + (18**0.5 - 2**0.5) ** 2, rel=1e-9)
    value = wkd_feature_loss(student, teacher, unbiased=False, **arguments)
    assert value.item() == pytest.approx(0.5 * 4 + (9**0.5 - 1) ** 2, rel=1e-9)


@KINDS
def test_one_pixel_compares_means(covariance):
    student, teacher = maps(2, 3, 1, 1)
    value = wkd_feature_loss(student, teacher, covariance=covariance)
    assert_close(value, (student - teacher).square().sum() / 2, **EXACT)


@KINDS
def test_a_grid_as_fine_as_the_map_compares_pixels(covariance):
    student, teacher = maps(2, 3, 4, 4)
    value = wkd_feature_loss(student, teacher, grid=4, covariance=covariance)
    assert_close(value, (student - teacher).square().sum() / (2 * 16), **EXACT)


def test_full_form_without_correlations_is_the_diagonal_one():
    # Channels are different cosines over the pixels: orthogonal, so covariances are diagonal.
    phase = torch.arange(8, dtype=torch.float64) + 0.5
    waves = torch.stack([(math.pi * k * phase / 8).cos() for k in (1, 2, 3)]).view(1, 3, 2, 4)
    scale = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64).view(3, 1, 1)
    arguments = dict(mean_cov_ratio=2.0, eps=1e-3)
    diag = wkd_f(waves, scale * waves + 1, **arguments)
    full = wkd_f(waves, scale * waves + 1, covariance='full', **arguments)
    for one, other in zip(full, diag):
        assert_close(one, other, **EXACT)


@pytest.mark.parametrize('case', [f'feature_{index}' for index in range(5)])
def test_reference(case):
    with np.load(GOLDEN) as file:
        fields = {key.split('/')[1]: file[key] for key in file.files if key.startswith(f'{case}/')}
    student, teacher = (torch.from_numpy(fields[name]) for name in ('student', 'teacher'))
    arguments = dict(grid=int(fields['grid']), eps=float(fields['eps']))
    value, grad = wkd_f(
        student,
        teacher,
        mean_cov_ratio=float(fields['mean_cov_ratio']),
        **arguments,
    )
    # Two float32 programs that sum in different orders.
    assert value.item() == pytest.approx(float(fields['loss']), rel=1e-5)
    gradient = torch.from_numpy(fields['grad_student'])
    assert_close(grad, gradient, rtol=0, atol=1e-4 * gradient.abs().max().item())
    spread = wkd_feature_loss(student, teacher, mean_cov_ratio=0.0, **arguments)
    assert spread.item() == pytest.approx(float(fields['std_term']), rel=1e-5)


def test_sum_over_channels():
    student, teacher = maps(3, 2, 6, 6)
    value = wkd_feature_loss(student, teacher, grid=2)
    per_channel = [
        wkd_feature_loss(student[:, i : i + 1], teacher[:, i : i + 1], grid=2) for i in range(2)
    ]
    assert_close(value, torch.stack(per_channel).sum(), **EXACT)


@KINDS
def test_mean_and_covariance_terms_add_up(covariance):
    student, teacher = maps()
    arguments = dict(grid=2, covariance=covariance)
    spread = wkd_feature_loss(student, teacher, mean_cov_ratio=0.0, **arguments)
    one = wkd_feature_loss(student, teacher, mean_cov_ratio=1.0, **arguments)
    five = wkd_feature_loss(student, teacher, mean_cov_ratio=5.0, **arguments)
    assert_close(five - spread, 5 * (one - spread), **EXACT)


@KINDS
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_a_common_shift_does_not_change_the_covariance_term(covariance, dtype):
    both = [(features + 1000).to(dtype) for features in maps()]  # rounded in float32
    moved = [features.double() - 1000 for features in both]  # exactly those numbers
    arguments = dict(grid=2, mean_cov_ratio=0.0, covariance=covariance)
    shifted = wkd_f(*both, **arguments)
    expected = wkd_f(*moved, **arguments)
    # float64: 1000 * 1e-16 against deviations near 1. float32: rounding of the deviations.
    relative = 1e-9 if dtype == torch.float64 else 1e-5
    for one, other in zip(shifted, expected):
        assert_close(one.double(), other, rtol=relative, atol=relative * other.abs().max().item())


@pytest.mark.parametrize('scale', [1.0, 1e2, 1e4, 6e4])
@pytest.mark.parametrize('size', [(2, 2), (3, 3), (5, 5)])
def test_full_gradient_in_float32_is_that_in_float64(scale, size):
    """Fewer pixels than channels and large values: the ridge must survive the rounding."""
    student, teacher = maps(3, 8, *size, scale=scale, dtype=torch.float32)
    arguments = dict(covariance='full', mean_cov_ratio=0.0)
    value, grad = wkd_f(student, teacher, **arguments)
    expected, expected_grad = wkd_f(student.double(), teacher.double(), **arguments)
    # The inputs are the same numbers; the result is rounded to float32.
    assert_close(value.double(), expected, rtol=1e-6, atol=0)
    atol = 1e-6 * expected_grad.abs().max().item()
    assert_close(grad.double(), expected_grad, rtol=0, atol=atol)


@KINDS
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('samples', [2, 0])
@pytest.mark.parametrize('inside', [False, True], ids=['after', 'inside'])
def test_autocast_changes_nothing(covariance, dtype, masked, samples, inside):
    student, teacher = maps(samples, dtype=dtype)
    mask = random_mask(samples, 6, 7) if masked else None
    arguments = dict(grid=2, covariance=covariance, mask=mask)
    expected = wkd_f(student, teacher, **arguments)
    student = student.clone().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = wkd_feature_loss(student, teacher, **arguments)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=inside):  # mmengine: after the block
        value.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), expected[0])
    assert torch.equal(student.grad, expected[1])


@KINDS
@pytest.mark.parametrize('masked', [False, True])
def test_wkd_f_is_short_for_the_w2_of_gaussians(covariance, masked):
    student, teacher = maps()
    arguments = dict(
        grid=2,
        mean_cov_ratio=2.0,
        eps=1e-3,
        unbiased=False,
        mask=random_mask(2, 6, 7) if masked else None,
        weight=torch.tensor([1.0, 0.5]),
        avg_factor=1.5,
    )
    short = wkd_f(student, teacher, covariance=covariance, **arguments)
    family = dict(distribution=covariance, distance='w2')
    for one, other in zip(
        short,
        value_and_gradient(feature_distribution_loss, student, teacher, **family, **arguments),
    ):
        assert torch.equal(one, other)
    defaults = wkd_f(student, teacher, covariance=covariance)
    for one, other in zip(
        defaults, value_and_gradient(feature_distribution_loss, student, teacher, **family)
    ):
        assert torch.equal(one, other)


def test_wkd_f_of_another_form():
    with pytest.raises(
        ValueError, match=r"covariance must be one of \('diag', 'full'\), got 'diagonal'"
    ):
        wkd_feature_loss(torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3), covariance='diagonal')


# Module


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(grid=3, mean_cov_ratio=2.0),
        dict(distribution='full', eps=1e-3),
        dict(unbiased=False, mean_cov_ratio=0.0),
        dict(distribution='laplace', distance='kl', grid=2),
        dict(distribution='pmf', epsilon=0.2, num_iters=3),
        dict(distribution='spatial_gram', distance='frobenius'),
    ],
)
@pytest.mark.parametrize('loss_weight', [1.0, 5e-3, 0.0])
def test_module_is_the_function_times_the_weight(options, loss_weight):
    student, teacher = maps(dtype=torch.float32)
    loss = WKDFeatureLoss(**options, loss_weight=loss_weight)
    for mask in (None, random_mask(2, 6, 7)):
        expected = loss_weight * feature_distribution_loss(student, teacher, mask=mask, **options)
        assert torch.equal(loss(student, teacher, mask=mask), expected)


def test_the_registry_builds_the_module_from_a_config():
    loss = MODELS.build(dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=5e-3))
    assert isinstance(loss, WKDFeatureLoss)
    assert loss.takes == 'features'
    expected = 5e-3 * wkd_feature_loss(*maps(), grid=4, mean_cov_ratio=2.0)
    assert torch.equal(loss(*maps()), expected)


def test_defaults_of_the_module_are_those_of_the_function():
    student, teacher = maps()
    assert torch.equal(WKDFeatureLoss()(student, teacher), wkd_feature_loss(student, teacher))


@PAIRS
def test_gradient_of_the_module_reaches_the_student_only(distribution, distance):
    student, teacher = (features.clone().requires_grad_() for features in maps())
    loss = WKDFeatureLoss(grid=2, distribution=distribution, distance=distance)
    loss(student, teacher).backward()
    assert student.grad.abs().max() > 1e-4
    assert teacher.grad is None


def test_the_module_holds_no_state():
    assert not WKDFeatureLoss().state_dict()


@PAIRS
def test_module_in_half_precision_and_without_images_gives_float32(distribution, distance):
    loss = WKDFeatureLoss(distribution=distribution, distance=distance)
    for samples in (2, 0):
        student, teacher = maps(samples, dtype=torch.float16)
        value = loss(student.clone().requires_grad_(), teacher)
        assert value.dtype == torch.float32
        assert value.requires_grad
        assert samples or value.item() == 0


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (dict(grid=0), 'grid must be an integer of at least 1, got 0'),
        (dict(grid=2.5), 'grid must be an integer of at least 1, got 2.5'),
        (dict(mean_cov_ratio=-1), 'mean_cov_ratio must not be negative, got -1'),
        (dict(loss_weight=-1), 'loss_weight must not be negative, got -1'),
        (dict(distribution='Diag'), r"one of diag \(w2, kl, symmetric_kl\), full .*; got 'Diag'"),
        (dict(distance='g2denet'), r"one of \['w2', 'kl', 'symmetric_kl'\] for dist.*'g2denet'"),
        (dict(epsilon=0.1), "epsilon means nothing to distribution='diag', distance='w2': its"),
        (dict(distribution='pmf', epsilon=0), 'epsilon must be positive, got 0'),
        (
            dict(distribution='pmf', num_iters=0),
            'num_iters must be an integer of at least 1, got 0',
        ),
        (dict(eps=0), 'eps must be positive, got 0'),
    ],
)
def test_options_of_the_module_outside_their_range(option, message):
    with pytest.raises(ValueError, match=message):
        WKDFeatureLoss(**option)


def test_a_larger_map_of_the_same_features_weighs_the_same():
    """So no level of a pyramid drowns the others by its size."""
    student, teacher = torch.randn(2, 2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    loss = WKDFeatureLoss(unbiased=False)
    whole = loss(student.repeat(1, 1, 4, 4), teacher.repeat(1, 1, 4, 4))
    assert torch.allclose(whole, loss(student, teacher), rtol=1e-5)  # float32 sums
