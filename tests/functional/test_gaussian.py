"""WKD-F: closed forms, a loop over cells, the reference's own numbers, masks and extremes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from wkd_det.functional import COVARIANCES, wkd_feature_loss

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
KINDS = pytest.mark.parametrize('covariance', COVARIANCES)

# Some hundred float64 operations.
EXACT = dict(rtol=1e-10, atol=1e-10)


def maps(samples=2, channels=3, height=6, width=7, *, seed=0, scale=1.0, dtype=torch.float64):
    """Student and teacher."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, samples, channels, height, width)
    both = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    both[1] = 0.5 + 1.5 * both[1]
    return both.to(dtype).unbind(0)


def random_mask(samples, height, width, *, seed=0, share=0.5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, height, width, generator=generator) < share


def naive_loss(
    student,
    teacher,
    *,
    grid=1,
    mean_cov_ratio=1.0,
    covariance='diag',
    eps=1e-5,
    unbiased=True,
    mask=None,
):
    """Image by image and cell by cell, the full form with scipy's matrix root (value only)."""
    _, channels, height, width = student.shape

    def edges(length):
        return [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]

    images = []
    for sample in range(len(student)):
        cells = []
        for top, bottom in edges(height):
            for left, right in edges(width):
                moments = []
                for features in (student, teacher):
                    pixels = features[sample, :, top:bottom, left:right].reshape(channels, -1)
                    if mask is not None:
                        inside = mask[sample, top:bottom, left:right].reshape(-1)
                        pixels = pixels[:, inside]
                    size = pixels.shape[1]
                    if size > 1:
                        second = torch.cov(pixels, correction=int(unbiased)).view(
                            channels, channels
                        )
                    else:
                        second = pixels.new_zeros(channels, channels)
                    moments.append((pixels.mean(dim=1), second))
                if size == 0:
                    continue
                (mean_s, cov_s), (mean_t, cov_t) = moments
                distance = mean_cov_ratio * (mean_s - mean_t).square().sum()
                if covariance == 'diag':
                    deviation = (cov_s.diagonal() + eps).sqrt() - (cov_t.diagonal() + eps).sqrt()
                    distance = distance + deviation.square().sum()
                else:
                    ridge = eps * np.eye(channels)
                    a, b = cov_s.detach().numpy() + ridge, cov_t.numpy() + ridge
                    root = scipy.linalg.sqrtm(b).real
                    middle = scipy.linalg.sqrtm(root @ a @ root).real
                    distance = distance + float(np.trace(a + b - 2 * middle))
                cells.append(distance)
        images.append(torch.stack(cells).mean() if cells else student.new_zeros(()))
    return torch.stack(images).mean()


def value_and_gradient(function, student, *args, **kwargs):
    student = student.detach().clone().requires_grad_()
    value = function(student, *args, **kwargs)
    value.backward()
    return value.detach(), student.grad


# Closed form


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


# Independent oracle


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(grid=2, mean_cov_ratio=2.0),
        dict(grid=4, unbiased=False, eps=1e-3),
        dict(grid=8, mean_cov_ratio=0.0),
    ],
)
@pytest.mark.parametrize('masked', [False, True])
@KINDS
def test_loop_over_cells(covariance, options, masked):
    student, teacher = maps()
    mask = random_mask(2, 6, 7) if masked else None
    arguments = dict(options, covariance=covariance, mask=mask)
    value = wkd_feature_loss(student, teacher, **arguments)
    # Roots of matrices of few pixels: eigenvalues known to 1e-16 have roots known to 1e-8.
    tolerance = EXACT if covariance == 'diag' else dict(rtol=1e-6, atol=1e-6)
    assert_close(value, naive_loss(student, teacher, **arguments), **tolerance)


@pytest.mark.parametrize('grid', [1, 4])
def test_gradient_of_the_loop(grid):
    student, teacher = maps()
    for mask in (None, random_mask(2, 6, 7)):
        ours = value_and_gradient(wkd_feature_loss, student, teacher, grid=grid, mask=mask)
        naive = value_and_gradient(naive_loss, student, teacher, grid=grid, mask=mask)
        for one, other in zip(ours, naive):
            assert_close(one, other, **EXACT)


def test_full_form_without_correlations_is_the_diagonal_one():
    # Channels are different cosines over the pixels: orthogonal, so covariances are diagonal.
    phase = torch.arange(8, dtype=torch.float64) + 0.5
    waves = torch.stack([(math.pi * k * phase / 8).cos() for k in (1, 2, 3)]).view(1, 3, 2, 4)
    scale = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64).view(3, 1, 1)
    arguments = dict(mean_cov_ratio=2.0, eps=1e-3)
    diag = value_and_gradient(wkd_feature_loss, waves, scale * waves + 1, **arguments)
    full = value_and_gradient(
        wkd_feature_loss, waves, scale * waves + 1, covariance='full', **arguments
    )
    for one, other in zip(full, diag):
        assert_close(one, other, **EXACT)


# The reference's own numbers


@pytest.mark.parametrize('case', [f'feature_{index}' for index in range(5)])
def test_reference(case):
    with np.load(GOLDEN) as file:
        fields = {key.split('/')[1]: file[key] for key in file.files if key.startswith(f'{case}/')}
    student, teacher = (torch.from_numpy(fields[name]) for name in ('student', 'teacher'))
    arguments = dict(grid=int(fields['grid']), eps=float(fields['eps']))
    value, grad = value_and_gradient(
        wkd_feature_loss,
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


# Limit


@KINDS
def test_loss_vanishes_quadratically_as_the_student_becomes_the_teacher(covariance):
    student, teacher = maps(1, 3, 6, 6)
    values = [
        wkd_feature_loss(teacher + step * student, teacher, covariance=covariance).item()
        for step in (1e-2, 1e-3)
    ]
    # The cubic term is a hundredth of the quadratic one.
    assert values[0] / values[1] == pytest.approx(100, rel=0.05)


@KINDS
@pytest.mark.parametrize('size', [(6, 7), (2, 1), (1, 1)], ids=['many', 'rank 1', 'rank 0'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_student_equal_to_teacher_has_value_and_gradient_zero(covariance, size, dtype):
    _, teacher = maps(2, 5, *size, dtype=dtype)
    value, grad = value_and_gradient(wkd_feature_loss, teacher, teacher, covariance=covariance)
    # Full form: eigenvalues of the product are known to 1e-16, their roots to 1e-8.
    assert abs(value.item()) <= 1e-7
    assert grad.abs().max() <= 1e-7
    # Constant maps too: no variance at all, on either side.
    flat = torch.full((2, 5, *size), 3.0, dtype=dtype)
    value, grad = value_and_gradient(wkd_feature_loss, flat, flat, covariance=covariance)
    assert abs(value.item()) <= 1e-7
    assert grad.abs().max() <= 1e-7


# Convention


def test_sum_over_channels_mean_over_cells_and_images():
    student, teacher = maps(3, 2, 6, 6)
    value = wkd_feature_loss(student, teacher, grid=2)
    per_image = [wkd_feature_loss(student[i : i + 1], teacher[i : i + 1], grid=2) for i in range(3)]
    assert_close(value, torch.stack(per_image).mean(), **EXACT)
    per_channel = [
        wkd_feature_loss(student[:, i : i + 1], teacher[:, i : i + 1], grid=2) for i in range(2)
    ]
    assert_close(value, torch.stack(per_channel).sum(), **EXACT)
    halves = [
        wkd_feature_loss(student[:, :, rows, columns], teacher[:, :, rows, columns])
        for rows in (slice(0, 3), slice(3, 6))
        for columns in (slice(0, 3), slice(3, 6))
    ]
    assert_close(value, torch.stack(halves).mean(), **EXACT)


@KINDS
def test_mean_and_covariance_terms_add_up(covariance):
    student, teacher = maps()
    arguments = dict(grid=2, covariance=covariance)
    spread = wkd_feature_loss(student, teacher, mean_cov_ratio=0.0, **arguments)
    one = wkd_feature_loss(student, teacher, mean_cov_ratio=1.0, **arguments)
    five = wkd_feature_loss(student, teacher, mean_cov_ratio=5.0, **arguments)
    assert_close(five - spread, 5 * (one - spread), **EXACT)


@KINDS
def test_symmetric_in_value(covariance):
    student, teacher = maps()
    value = wkd_feature_loss(student, teacher, covariance=covariance)
    assert_close(wkd_feature_loss(teacher, student, covariance=covariance), value, **EXACT)


@KINDS
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_a_common_shift_does_not_change_the_covariance_term(covariance, dtype):
    both = [(features + 1000).to(dtype) for features in maps()]  # rounded in float32
    moved = [features.double() - 1000 for features in both]  # exactly those numbers
    arguments = dict(grid=2, mean_cov_ratio=0.0, covariance=covariance)
    shifted = value_and_gradient(wkd_feature_loss, *both, **arguments)
    expected = value_and_gradient(wkd_feature_loss, *moved, **arguments)
    # float64: 1000 * 1e-16 against deviations near 1. float32: rounding of the deviations.
    relative = 1e-9 if dtype == torch.float64 else 1e-5
    for one, other in zip(shifted, expected):
        assert_close(one.double(), other, rtol=relative, atol=relative * other.abs().max().item())


@KINDS
def test_mask_is_a_crop_where_it_is_one(covariance):
    student, teacher = maps(2, 3, 6, 8)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[:, :4, :5] = True
    value = wkd_feature_loss(student, teacher, covariance=covariance, mask=mask)
    cropped = wkd_feature_loss(student[:, :, :4, :5], teacher[:, :, :4, :5], covariance=covariance)
    assert_close(value, cropped, **EXACT)


@KINDS
@pytest.mark.parametrize('filling', [math.inf, -math.inf, math.nan, 6e4])
def test_padding_may_hold_anything(covariance, filling):
    student, teacher = maps(2, 3, 6, 8, dtype=torch.float32)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, :4, :5], mask[1, :, :3] = True, True
    arguments = dict(grid=3, covariance=covariance, mask=mask)
    clean = value_and_gradient(wkd_feature_loss, student, teacher, **arguments)
    padding = ~mask[:, None]
    dirty = value_and_gradient(
        wkd_feature_loss,
        student.masked_fill(padding, filling),
        teacher.masked_fill(padding, -filling),
        **arguments,
    )
    for one, other in zip(dirty, clean):
        assert torch.equal(one, other)
    assert (dirty[1].masked_select(padding) == 0).all()


@KINDS
def test_empty_cells_do_not_count_and_empty_images_are_zero(covariance):
    student, teacher = maps(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = True
    value, grad = value_and_gradient(
        wkd_feature_loss, student, teacher, grid=2, covariance=covariance, mask=mask
    )
    cell = wkd_feature_loss(student[:1, :, :2, :2], teacher[:1, :, :2, :2], covariance=covariance)
    assert_close(value, cell / 2, **EXACT)  # one cell of the first image, mean over two images
    assert (grad[1] == 0).all()
    value, grad = value_and_gradient(
        wkd_feature_loss, student, teacher, covariance=covariance, mask=torch.zeros_like(mask)
    )
    assert value.item() == 0
    assert (grad == 0).all()


@KINDS
def test_weight_and_avg_factor(covariance):
    student, teacher = maps(3)
    each = torch.stack(
        [
            wkd_feature_loss(student[i : i + 1], teacher[i : i + 1], covariance=covariance)
            for i in range(3)
        ]
    )
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)

    def loss(**kwargs):
        return wkd_feature_loss(student, teacher, covariance=covariance, **kwargs)

    assert_close(loss(weight=weight), (weight * each).sum() / 3, **EXACT)
    assert_close(loss(weight=weight, avg_factor=2.0), (weight * each).sum() / 2, **EXACT)


@KINDS
def test_the_teacher_gets_no_gradient(covariance):
    student, teacher = (features.requires_grad_() for features in maps())
    wkd_feature_loss(student, teacher, grid=2, covariance=covariance).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-4


# Gradients


@KINDS
@pytest.mark.parametrize('grid', [1, 3])
@pytest.mark.parametrize('masked', [False, True])
def test_gradcheck(covariance, grid, masked):
    student, teacher = maps(2, 2, 4, 3)
    mask = random_mask(2, 4, 3, share=0.7) if masked else None
    weight = torch.tensor([1.0, 0.5], dtype=torch.float64)

    def function(student):
        return wkd_feature_loss(
            student,
            teacher,
            grid=grid,
            mean_cov_ratio=2.0,
            covariance=covariance,
            # Roots of singular matrices curve too fast for finite differences without it.
            eps=0.1,
            mask=mask,
            weight=weight,
        )

    assert torch.autograd.gradcheck(function, (student.requires_grad_(),))


@pytest.mark.parametrize('scale', [1.0, 1e2, 1e4, 6e4])
@pytest.mark.parametrize('size', [(2, 2), (3, 3), (5, 5)])
def test_full_gradient_in_float32_is_that_in_float64(scale, size):
    """Fewer pixels than channels and large values: the ridge must survive the rounding."""
    student, teacher = maps(3, 8, *size, scale=scale, dtype=torch.float32)
    arguments = dict(covariance='full', mean_cov_ratio=0.0)
    value, grad = value_and_gradient(wkd_feature_loss, student, teacher, **arguments)
    expected, expected_grad = value_and_gradient(
        wkd_feature_loss, student.double(), teacher.double(), **arguments
    )
    # The inputs are the same numbers; the result is rounded to float32.
    assert_close(value.double(), expected, rtol=1e-6, atol=0)
    atol = 1e-6 * expected_grad.abs().max().item()
    assert_close(grad.double(), expected_grad, rtol=0, atol=atol)


# Types and extremes


@KINDS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_equals_float32_of_the_rounded_input(covariance, dtype, samples):
    student, teacher = maps(samples, dtype=dtype)
    arguments = dict(grid=2, covariance=covariance)
    value, grad = value_and_gradient(wkd_feature_loss, student, teacher, **arguments)
    expected, expected_grad = value_and_gradient(
        wkd_feature_loss, student.float(), teacher.float(), **arguments
    )
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert grad.dtype == dtype
    assert torch.equal(grad, expected_grad.to(dtype))


@KINDS
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('samples', [2, 0])
@pytest.mark.parametrize('inside', [False, True], ids=['after', 'inside'])
def test_autocast_changes_nothing(covariance, dtype, masked, samples, inside):
    student, teacher = maps(samples, dtype=dtype)
    mask = random_mask(samples, 6, 7) if masked else None
    arguments = dict(grid=2, covariance=covariance, mask=mask)
    expected = value_and_gradient(wkd_feature_loss, student, teacher, **arguments)
    student = student.clone().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = wkd_feature_loss(student, teacher, **arguments)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=inside):  # mmengine: after the block
        value.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), expected[0])
    assert torch.equal(student.grad, expected[1])


@KINDS
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('size', [(8, 8), (2, 2)])
def test_large_features_stay_finite(covariance, dtype, size):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 6e4 * (2 * torch.rand(2, 2, 5, *size, generator=generator) - 1)
    student[0], teacher[0] = 6e4, -6e4
    value, grad = value_and_gradient(
        wkd_feature_loss, student.to(dtype), teacher.to(dtype), grid=2, covariance=covariance
    )
    assert torch.isfinite(value)
    assert torch.isfinite(grad.float()).all()


# Properties


@KINDS
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    grid=st.integers(1, 9),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_shape(covariance, shape, grid, share, seed):
    student, teacher = maps(*shape, seed=seed)
    samples, _, height, width = shape
    mask = None if share is None else random_mask(samples, height, width, seed=seed, share=share)
    arguments = dict(grid=grid, covariance=covariance, mask=mask)
    value, grad = value_and_gradient(wkd_feature_loss, student, teacher, **arguments)
    assert value.shape == ()
    assert torch.isfinite(grad).all()
    if samples == 0:
        assert value.item() == 0
    else:
        # Singular matrices: eigenvalues known to 1e-16 have roots known to 1e-8.
        tolerance = EXACT if covariance == 'diag' else dict(rtol=1e-6, atol=1e-6)
        assert_close(value, naive_loss(student, teacher, **arguments), **tolerance)


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(student=torch.ones(2, 3)), r'share a shape \(N, C, H, W\), got \(2, 3\) and'),
        (dict(teacher=torch.ones(2, 5, 4, 4)), r'got \(2, 3, 4, 4\) and \(2, 5, 4, 4\)'),
        (dict(student=torch.ones(2, 0, 4, 4), teacher=torch.ones(2, 0, 4, 4)), 'not be empty'),
        (dict(student=torch.ones(2, 3, 0, 4), teacher=torch.ones(2, 3, 0, 4)), 'not be empty'),
        (dict(grid=0), 'grid must be an integer of at least 1, got 0'),
        (dict(grid=2.0), 'grid must be an integer of at least 1, got 2.0'),
        (dict(mean_cov_ratio=-1.0), 'mean_cov_ratio must not be negative, got -1.0'),
        (dict(mean_cov_ratio=math.nan), 'mean_cov_ratio must not be negative, got nan'),
        (dict(covariance='diagonal'), r"one of \('diag', 'full'\), got 'diagonal'"),
        (dict(eps=0.0), 'eps must be positive, got 0.0'),
        (dict(mask=torch.ones(2, 4, 4)), 'mask must be bool .* got torch.float32'),
        (dict(mask=torch.ones(1, 4, 4).bool()), r'= \(2, 4, 4\), got torch.bool and \(1, 4, 4\)'),
        (dict(mask=torch.ones(2, 1, 4, 4).bool()), r'got torch.bool and \(2, 1, 4, 4\)'),
        (dict(weight=torch.ones(3)), r'weight must have the shape .* \(2,\), got \(3,\)'),
        (dict(avg_factor=-1.0), 'avg_factor must be positive, got -1.0'),
    ],
)
def test_wrong_arguments(change, message):
    arguments = dict(student=torch.ones(2, 3, 4, 4), teacher=torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match=message):
        wkd_feature_loss(**(arguments | change))
