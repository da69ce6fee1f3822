"""The family of WKD-F: closed forms, a loop over cells with other people's code, masks, extremes.

WKD-F alone (the reference's numbers, full covariances) and the module are in test_wkd_feature.py.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Exponential, Laplace, Normal, kl_divergence
from torch.testing import assert_close

from random_tensors import maps, random_mask
from wkd_det.losses.wkd_feature import (
    FEATURE_DISTANCES,
    check_feature_options,
    feature_distribution_loss,
)

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
PAIRS = pytest.mark.parametrize(
    ('distribution', 'distance'), FEATURE_DISTANCES, ids=['-'.join(p) for p in FEATURE_DISTANCES]
)
EXACT = dict(rtol=1e-10, atol=1e-10)  # some hundred float64 operations
# Roots of singular matrices: eigenvalues known to 1e-16 have roots known to 1e-8.
ROOTS = dict(rtol=1e-6, atol=1e-6)


def tolerance(distribution):
    return ROOTS if distribution == 'full' else EXACT


def moments(pixels, unbiased=True):
    """Mean and covariance of the columns."""
    channels, size = pixels.shape
    if size == 1:
        return pixels[:, 0], pixels.new_zeros(channels, channels)
    second = torch.cov(pixels, correction=int(unbiased)).view(channels, channels)
    return pixels.mean(dim=1), second


def diagonal(pixels, eps=1e-5, unbiased=True):
    mean, second = moments(pixels, unbiased)
    return Normal(mean, (second.diagonal() + eps).sqrt())


def laplace(pixels, eps=1e-5, unbiased=True):
    normal = diagonal(pixels, eps, unbiased)
    return Laplace(normal.loc, normal.scale / math.sqrt(2))  # of the same variance


def embedded_root(pixels, eps=1e-5, unbiased=True):
    mean, second = (moment.numpy() for moment in moments(pixels.detach(), unbiased))
    mean = np.append(mean, 1.0)
    inner = np.pad(second + eps * np.eye(len(second)), (0, 1))
    return scipy.linalg.sqrtm(inner + np.outer(mean, mean)).real


def gaussian_distance(student, teacher, form, *, mean_cov_ratio=1.0, eps=1e-5, unbiased=True):
    """WKD-F of one cell; the full form with scipy's matrix root, without a gradient."""
    (mean_s, cov_s), (mean_t, cov_t) = (moments(pixels, unbiased) for pixels in (student, teacher))
    means = mean_cov_ratio * (mean_s - mean_t).square().sum()
    if form == 'diag':
        deviation = (cov_s.diagonal() + eps).sqrt() - (cov_t.diagonal() + eps).sqrt()
        return means + deviation.square().sum()
    ridge = eps * np.eye(len(cov_s))
    one, other = cov_s.detach().numpy() + ridge, cov_t.numpy() + ridge
    root = scipy.linalg.sqrtm(other).real
    middle = scipy.linalg.sqrtm(root @ one @ root).real
    return means + float(np.trace(one + other - 2 * middle))


def transport(student, teacher, epsilon=0.05, num_iters=10):
    """Rounds of scaling as in the definition, the plan written out."""
    student, teacher = (f / np.linalg.norm(f, axis=0) for f in (student.numpy(), teacher.numpy()))
    cost = 1 - student.T @ teacher
    kernel, mass = np.exp(-cost / epsilon), np.full(len(cost), 1 / len(cost))
    row = np.ones(len(cost))
    for _ in range(num_iters):
        column = mass / (kernel.T @ row)
        row = mass / (kernel @ column)
    return torch.tensor((row[:, None] * kernel * column * cost).sum())


# Of one cell: pixels of the student and of the teacher, ``(C, m)``.
ORACLES = {
    ('diag', 'w2'): lambda s, t, **o: gaussian_distance(s, t, 'diag', **o),
    ('diag', 'kl'): lambda s, t, **o: kl_divergence(diagonal(t, **o), diagonal(s, **o)).sum(),
    ('diag', 'symmetric_kl'): lambda s, t, **o: (
        kl_divergence(diagonal(t, **o), diagonal(s, **o))
        + kl_divergence(diagonal(s, **o), diagonal(t, **o))
    ).sum(),
    ('full', 'w2'): lambda s, t, **o: gaussian_distance(s, t, 'full', **o),
    ('full', 'g2denet'): lambda s, t, **o: torch.tensor(
        ((embedded_root(s, **o) - embedded_root(t, **o)) ** 2).sum()
    ),
    ('laplace', 'kl'): lambda s, t, **o: kl_divergence(laplace(t, **o), laplace(s, **o)).sum(),
    ('exponential', 'kl'): lambda s, t, eps=1e-5: kl_divergence(
        Exponential(1 / (t.abs().mean(1) + eps)), Exponential(1 / (s.abs().mean(1) + eps))
    ).sum(),
    ('pmf', 'w2'): transport,
    ('channel_mean', 'frobenius'): lambda s, t: (s.mean(1) - t.mean(1)).square().sum(),
    ('channel_gram', 'frobenius'): lambda s, t: (
        (s @ s.t() - t @ t.t()).div(s.shape[1]).square().sum()
    ),
    ('spatial_mean', 'frobenius'): lambda s, t: (s.mean(0) - t.mean(0)).square().sum(),
    ('spatial_gram', 'frobenius'): lambda s, t: (s.t() @ s - t.t() @ t).div(len(s)).square().sum(),
}


def loop(student, teacher, distribution, distance, *, grid=1, mask=None, **options):
    """Image by image and cell by cell."""
    _, channels, height, width = student.shape

    def edges(length):
        return [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]

    images = []
    for sample in range(len(student)):
        cells = []
        for top, bottom in edges(height):
            for left, right in edges(width):
                pixels = [f[sample, :, top:bottom, left:right] for f in (student, teacher)]
                if mask is not None:
                    inside = mask[sample, top:bottom, left:right]
                    pixels = [f[:, inside] for f in pixels]
                if pixels[0].numel():
                    oracle = ORACLES[distribution, distance]
                    cells.append(oracle(*(f.reshape(channels, -1) for f in pixels), **options))
        images.append(torch.stack(cells).mean() if cells else student.new_zeros(()))
    return torch.stack(images).mean()


def value_and_gradient(student, teacher, **arguments):
    student = student.detach().clone().requires_grad_()
    value = feature_distribution_loss(student, teacher, **arguments)
    value.backward()
    return value.detach(), student.grad


# Closed form


def one_channel(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


@pytest.mark.parametrize(
    ('distribution', 'distance', 'expected'),
    [
        # Student: mean 1, variance 2. Teacher: mean 3, variance 18.
        ('diag', 'w2', 4 + (18**0.5 - 2**0.5) ** 2),
        ('diag', 'kl', 0.5 * (math.log(2 / 18) + (18 + 4) / 2 - 1)),
        ('diag', 'symmetric_kl', 0.5 * ((18 + 4) / 2 + (2 + 4) / 18 - 2)),
        # Scales 1 and 3.
        ('laplace', 'kl', math.log(1 / 3) + 2 / 1 + 3 * math.exp(-2 / 3) - 1),
        # Rates 1 and 1 / 3.
        ('exponential', 'kl', math.log(1 / 3) + 3 - 1),
        ('channel_mean', 'frobenius', 4),
        ('channel_gram', 'frobenius', (36 / 2 - 4 / 2) ** 2),
        ('spatial_mean', 'frobenius', 16),
        ('spatial_gram', 'frobenius', (36 - 4) ** 2),
    ],
)
def test_two_pixels_by_hand(distribution, distance, expected):
    options = {} if distance == 'frobenius' else dict(eps=1e-12)
    value = feature_distribution_loss(
        one_channel(0.0, 2.0), one_channel(0.0, 6.0),
        distribution=distribution, distance=distance, **options,
    )  # fmt: skip
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_g2denet_of_two_point_masses():
    """Rank one: the root of v v^T is v v^T / |v|."""
    student, teacher = one_channel(0.0, 0.0), one_channel(1.0, 1.0)
    value = feature_distribution_loss(
        student, teacher, distribution='full', distance='g2denet', eps=1e-12
    )
    root = np.array([[1, 1], [1, 1]]) / 2**0.5
    expected = ((root - np.array([[0, 0], [0, 1]])) ** 2).sum()
    assert value.item() == pytest.approx(expected, rel=1e-5)  # eps has a root of 1e-6


def test_transport_between_two_orthogonal_pixels():
    """Each pixel finds itself on the other side, whatever its place and its length."""
    student = torch.eye(2, dtype=torch.float64).view(1, 2, 1, 2)
    teacher = 3 * student.flip(3)
    arguments = dict(distribution='pmf', distance='w2')
    value = feature_distribution_loss(student, teacher, **arguments)
    assert value.item() == pytest.approx(1 / (1 + math.exp(1 / 0.05)), rel=1e-6)
    value = feature_distribution_loss(student, teacher, epsilon=1.0, **arguments)
    assert value.item() == pytest.approx(1 / (1 + math.e), rel=1e-9)
    opposite = feature_distribution_loss(student[..., :1], -student[..., :1], **arguments)
    assert opposite.item() == pytest.approx(2, rel=1e-9)


# Independent oracle


@PAIRS
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('grid', [1, 2, 4])
def test_loop_over_cells(distribution, distance, grid, masked):
    student, teacher = maps()
    mask = random_mask(2, 6, 7) if masked else None
    arguments = dict(distribution=distribution, distance=distance, grid=grid, mask=mask)
    value = feature_distribution_loss(student, teacher, **arguments)
    assert_close(value, loop(student, teacher, **arguments), **tolerance(distribution))


@pytest.mark.parametrize(
    ('pair', 'options'),
    [
        (('diag', 'w2'), dict(mean_cov_ratio=3.0, eps=0.1)),
        (('diag', 'w2'), dict(mean_cov_ratio=0.0, unbiased=False)),
        (('full', 'w2'), dict(mean_cov_ratio=3.0, eps=0.1, unbiased=False)),
        (('diag', 'kl'), dict(eps=0.1, unbiased=False)),
        (('diag', 'symmetric_kl'), dict(unbiased=False)),
        (('full', 'g2denet'), dict(eps=0.1, unbiased=False)),
        (('laplace', 'kl'), dict(eps=0.1, unbiased=False)),
        (('exponential', 'kl'), dict(eps=0.5)),
        (('pmf', 'w2'), dict(epsilon=0.3, num_iters=3)),
    ],
)
def test_options_reach_the_distance(pair, options):
    student, teacher = maps()
    arguments = dict(distribution=pair[0], distance=pair[1], grid=2)
    value = feature_distribution_loss(student, teacher, **arguments, **options)
    assert_close(value, loop(student, teacher, **arguments, **options), **tolerance(pair[0]))
    other = feature_distribution_loss(student, teacher, **arguments)
    assert abs(value - other) > 1e-3 * value


@pytest.mark.parametrize('epsilon', [0.05, 0.5])
def test_converged_transport_is_that_of_pot(epsilon):
    student, teacher = maps(1, 4, 3, 3)
    pixels = [f[0].flatten(1).t().numpy() for f in (student, teacher)]
    cost = ot.dist(*pixels, metric='cosine')
    mass = np.full(9, 1 / 9)
    plan = ot.sinkhorn(mass, mass, cost, epsilon, numItermax=100000, stopThr=1e-14)
    value = feature_distribution_loss(
        student, teacher, distribution='pmf', distance='w2', epsilon=epsilon, num_iters=2000
    )
    assert value.item() == pytest.approx((plan * cost).sum(), rel=1e-7)


def test_exact_transport_is_the_limit():
    student, teacher = maps(1, 4, 3, 3)
    pixels = [f[0].flatten(1).t().numpy() for f in (student, teacher)]
    exact = ot.emd2(np.full(9, 1 / 9), np.full(9, 1 / 9), ot.dist(*pixels, metric='cosine'))
    values = [
        feature_distribution_loss(
            student, teacher, distribution='pmf', distance='w2', epsilon=epsilon, num_iters=5000
        ).item()
        for epsilon in (0.2, 0.05, 0.01)
    ]
    assert values[0] > values[1] > values[2] > exact - 1e-6
    assert values[2] == pytest.approx(exact, abs=0.01)  # at most epsilon times log 9


@pytest.mark.parametrize('grid', [1, 4])
@pytest.mark.parametrize('masked', [False, True])
def test_gradient_of_the_loop(grid, masked):
    student, teacher = maps()
    mask = random_mask(2, 6, 7) if masked else None
    arguments = dict(distribution='diag', distance='w2', grid=grid, mask=mask)
    ours = value_and_gradient(student, teacher, **arguments)
    student = student.clone().requires_grad_()
    value = loop(student, teacher, **arguments)
    for one, other in zip(ours, (value.detach(), *torch.autograd.grad(value, student))):
        assert_close(one, other, **EXACT)


@PAIRS
def test_gradient_in_float32_is_that_in_float64(distribution, distance):
    """Four pixels of eight channels: the second moments are singular."""
    student, teacher = maps(3, 8, 4, 4, dtype=torch.float32)
    arguments = dict(distribution=distribution, distance=distance, grid=2)
    value, grad = value_and_gradient(student, teacher, **arguments)
    expected, expected_grad = value_and_gradient(student.double(), teacher.double(), **arguments)
    # Divergences divide by variances, which float32 knows to 1e-6.
    assert_close(value.double(), expected, rtol=1e-5, atol=0)
    atol = 1e-4 * expected_grad.abs().max().item()
    assert_close(grad.double(), expected_grad, rtol=0, atol=atol)


# Limit


@PAIRS
@pytest.mark.parametrize('size', [(6, 7), (2, 1), (1, 1)], ids=['many', 'rank 1', 'rank 0'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_student_equal_to_teacher(distribution, distance, size, dtype):
    """Value and gradient are 0, of transport finite: its entropic plan is never the identity."""
    _, teacher = maps(2, 5, *size, dtype=dtype)
    for features in (teacher, torch.full((2, 5, *size), 3.0, dtype=dtype), 0 * teacher):
        value, grad = value_and_gradient(
            features, features, distribution=distribution, distance=distance
        )
        assert torch.isfinite(grad).all()
        if distribution == 'pmf':
            # 1 - cos of a pixel of nothing with anything is 1.
            assert 0 <= value <= (1 if features.any() else 1 + 1e-6)
        else:
            assert abs(value.item()) <= 1e-6
            # Rounding of logarithms near 0 by float32, over variances of 1e-5 that are its own.
            assert grad.abs().max() <= 1e-6


def transport_left_to_autograd(student, teacher, epsilon=0.05, num_iters=10):
    """One image and one cell: rounds on plain numbers, the cost as it comes, also below 0."""
    student, teacher = (F.normalize(f[0].flatten(1), dim=0) for f in (student, teacher))
    cost = 1 - student.T @ teacher
    kernel, mass = (-cost / epsilon).exp(), 1 / len(cost)
    row = torch.ones_like(cost[0])
    for _ in range(num_iters):
        column = mass / (kernel.T @ row)
        row = mass / (kernel @ column)
    return (row[:, None] * kernel * column * cost).sum()


@pytest.mark.parametrize('size', [(3, 3), (2, 1), (1, 1)], ids=['many', 'two', 'one'])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_gradient_of_transport_where_student_equals_teacher(size, scale, dtype):
    """Each pixel costs 0 or, by rounding, less against itself; the rest pulls as ever."""
    teacher = maps(1, 4, *size, scale=scale)[1].to(dtype)
    value, grad = value_and_gradient(teacher, teacher, distribution='pmf', distance='w2')
    student = teacher.double().clone().requires_grad_()
    expected = transport_left_to_autograd(student, teacher.double())
    (expected_grad,) = torch.autograd.grad(expected, student)
    # Costs are differences of numbers of about 1, over an epsilon of 1/20.
    rounding = 1e-4 if dtype == torch.float32 else 1e-12
    assert_close(value.double(), expected.detach(), rtol=rounding, atol=rounding)
    assert_close(grad.double(), expected_grad, rtol=0, atol=rounding / scale)


def test_gradcheck_of_transport_where_student_equals_teacher():
    _, teacher = maps(2, 4, 3, 3)
    assert torch.autograd.gradcheck(
        lambda student: feature_distribution_loss(
            student, teacher, distribution='pmf', distance='w2', grid=2
        ),
        teacher.clone().requires_grad_(),
    )


def test_transport_between_parallel_pixels_is_never_below_zero():
    teacher = maps(1, 64, 5, 5, dtype=torch.float32)[1][..., :1, :1].expand(-1, -1, 5, 5)
    for factor in (1.0, 3.0, 1e-3):
        value, grad = value_and_gradient(
            factor * teacher, teacher, distribution='pmf', distance='w2'
        )
        assert 0 <= value <= 1e-6  # rounding of a cosine
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize(
    ('distribution', 'distance'),
    [pair for pair in FEATURE_DISTANCES if pair[0] != 'pmf'],  # whose plan never costs nothing
)
def test_loss_vanishes_quadratically_as_the_student_becomes_the_teacher(distribution, distance):
    student, teacher = maps(1, 3, 6, 6)
    values = [
        feature_distribution_loss(
            teacher + step * student, teacher, distribution=distribution, distance=distance
        ).item()
        for step in (1e-2, 1e-3)
    ]
    # The cubic term is a few hundredths of the quadratic one.
    assert values[0] / values[1] == pytest.approx(100, rel=0.1)


# Convention


@PAIRS
def test_mean_over_images_and_cells(distribution, distance):
    student, teacher = maps(3, 2, 6, 6)
    arguments = dict(distribution=distribution, distance=distance)
    value = feature_distribution_loss(student, teacher, grid=2, **arguments)
    each = [
        feature_distribution_loss(
            student[i : i + 1, :, rows, columns], teacher[i : i + 1, :, rows, columns], **arguments
        )
        for i in range(3)
        for rows in (slice(0, 3), slice(3, 6))
        for columns in (slice(0, 3), slice(3, 6))
    ]
    assert_close(value, torch.stack(each).mean(), **tolerance(distribution))


@pytest.mark.parametrize(
    ('distribution', 'distance'),
    [pair for pair in FEATURE_DISTANCES if pair[1] != 'kl'],
)
def test_symmetric_ones(distribution, distance):
    student, teacher = maps()
    arguments = dict(distribution=distribution, distance=distance)
    if distribution == 'pmf':
        arguments['num_iters'] = 2000  # before convergence one marginal is exact, one is not
    value = feature_distribution_loss(student, teacher, **arguments)
    other = feature_distribution_loss(teacher, student, **arguments)
    assert_close(other, value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('distribution', ['diag', 'laplace', 'exponential'])
def test_a_wide_student_is_nearer_to_a_narrow_teacher_than_the_other_way_round(distribution):
    """KL(T || S): the mean is taken over the teacher's distribution."""
    narrow, _ = maps()
    arguments = dict(distribution=distribution, distance='kl')
    wide_student = feature_distribution_loss(5 * narrow, narrow, **arguments)
    wide_teacher = feature_distribution_loss(narrow, 5 * narrow, **arguments)
    assert wide_student < wide_teacher


@PAIRS
@pytest.mark.parametrize('filling', [math.inf, math.nan, 6e4])
def test_padding_may_hold_anything(distribution, distance, filling):
    student, teacher = maps(2, 3, 6, 8, dtype=torch.float32)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, :4, :5], mask[1, :, :3] = True, True
    arguments = dict(grid=3, distribution=distribution, distance=distance, mask=mask)
    clean = value_and_gradient(student, teacher, **arguments)
    padding = ~mask[:, None]
    dirty = value_and_gradient(
        student.masked_fill(padding, filling), teacher.masked_fill(padding, -filling), **arguments
    )
    for one, other in zip(dirty, clean):
        assert torch.equal(one, other)
    assert (dirty[1].masked_select(padding) == 0).all()


@PAIRS
def test_empty_cells_do_not_count_and_empty_images_are_zero(distribution, distance):
    student, teacher = maps(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = True
    arguments = dict(distribution=distribution, distance=distance)
    value, grad = value_and_gradient(student, teacher, grid=2, mask=mask, **arguments)
    cell = feature_distribution_loss(student[:1, :, :2, :2], teacher[:1, :, :2, :2], **arguments)
    # One cell of the first image, mean over two images.
    assert_close(value, cell / 2, **tolerance(distribution))
    assert (grad[1] == 0).all()
    value, grad = value_and_gradient(student, teacher, mask=torch.zeros_like(mask), **arguments)
    assert value.item() == 0
    assert (grad == 0).all()


@PAIRS
def test_weight_and_avg_factor(distribution, distance):
    student, teacher = maps(3)
    arguments = dict(distribution=distribution, distance=distance)
    each = torch.stack(
        [
            feature_distribution_loss(student[i : i + 1], teacher[i : i + 1], **arguments)
            for i in range(3)
        ]
    )
    arguments['weight'] = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    total = (arguments['weight'] * each).sum()
    value = feature_distribution_loss(student, teacher, **arguments)
    assert_close(value, total / 3, **tolerance(distribution))
    value = feature_distribution_loss(student, teacher, avg_factor=2.0, **arguments)
    assert_close(value, total / 2, **tolerance(distribution))


# Gradients


@PAIRS
@pytest.mark.parametrize('grid', [1, 3])
@pytest.mark.parametrize('masked', [False, True])
def test_gradcheck(distribution, distance, grid, masked):
    student, teacher = maps(2, 2, 4, 3)
    mask = random_mask(2, 4, 3, share=0.7) if masked else None
    # Roots and divergences of singular matrices curve too fast for finite differences without it.
    options = check_feature_options(distribution, distance, grid)
    options.update({name: 0.1 for name in ('eps', 'epsilon') if name in options})

    def function(student):
        return feature_distribution_loss(
            student, teacher, distribution=distribution, distance=distance,
            grid=grid, mask=mask, weight=torch.tensor([1.0, 0.5]), **options,
        )  # fmt: skip

    assert torch.autograd.gradcheck(function, (student.requires_grad_(),))


# Types and extremes


@PAIRS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_equals_float32_of_the_rounded_input_also_in_autocast(
    distribution, distance, dtype
):
    student, teacher = maps(dtype=dtype)
    arguments = dict(distribution=distribution, distance=distance, grid=2)
    expected, expected_grad = value_and_gradient(student.float(), teacher.float(), **arguments)
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = feature_distribution_loss(student, teacher, **arguments)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), expected)
    assert torch.equal(student.grad, expected_grad.to(dtype))


@PAIRS
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('size', [(8, 8), (2, 2)])
def test_large_features_stay_finite(distribution, distance, dtype, size):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 6e4 * (2 * torch.rand(2, 2, 5, *size, generator=generator) - 1)
    student[0], teacher[0] = 6e4, -6e4
    value, grad = value_and_gradient(
        student.to(dtype).float(), teacher.to(dtype).float(),
        grid=2, distribution=distribution, distance=distance,
    )  # fmt: skip
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


# Properties


@PAIRS
@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    grid=st.integers(1, 9),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_shape(distribution, distance, shape, grid, share, seed):
    student, teacher = maps(*shape, seed=seed)
    samples, _, height, width = shape
    mask = None if share is None else random_mask(samples, height, width, seed=seed, share=share)
    arguments = dict(grid=grid, distribution=distribution, distance=distance, mask=mask)
    value, grad = value_and_gradient(student, teacher, **arguments)
    assert value.shape == ()
    assert torch.isfinite(grad).all()
    if samples == 0:
        assert value.item() == 0
    else:
        # Of one pixel, variances are eps and divergences of the order of 1 / eps.
        assert_close(value, loop(student, teacher, **arguments), rtol=1e-6, atol=1e-6)


# Errors


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(student=torch.ones(2, 3)), r'share a shape \(N, C, H, W\), got \(2, 3\) and'),
        (dict(teacher=torch.ones(2, 5, 4, 4)), r'got \(2, 3, 4, 4\) and \(2, 5, 4, 4\)'),
        (dict(student=torch.ones(2, 0, 4, 4), teacher=torch.ones(2, 0, 4, 4)), 'not be empty'),
        (dict(student=torch.ones(2, 3, 0, 4), teacher=torch.ones(2, 3, 0, 4)), 'not be empty'),
        (dict(mask=torch.ones(2, 4, 4)), 'mask must be bool .* got torch.float32'),
        (dict(mask=torch.ones(1, 4, 4).bool()), r'= \(2, 4, 4\), got torch.bool and \(1, 4, 4\)'),
        (dict(mask=torch.ones(2, 1, 4, 4).bool()), r'got torch.bool and \(2, 1, 4, 4\)'),
        (dict(weight=torch.ones(3)), r'weight must have the shape .* \(2,\), got \(3,\)'),
        (dict(avg_factor=-1.0), 'avg_factor must be positive, got -1.0'),
        (dict(grid=2.0), 'grid must be an integer of at least 1, got 2.0'),
        (dict(mean_cov_ratio=math.nan), 'mean_cov_ratio must not be negative, got nan'),
        (dict(grid=0), 'grid must be an integer of at least 1, got 0'),
        (
            dict(distribution='gaussian'),
            r'distribution must be one of diag \(w2, kl, symmetric_kl\), full \(w2, g2denet\), '
            r"laplace \(kl\), .*spatial_gram \(frobenius\); got 'gaussian'",
        ),
        (dict(distribution=[1]), r'distribution must be one of diag .*; got \[1\]'),
        (dict(distance=[1]), r"distance must be one of .* for distribution='diag', got \[1\]"),
        (dict(unbiased='no'), "unbiased must be True or False, got 'no'"),
        (
            dict(distribution='full', distance='kl'),
            r"distance must be one of \['w2', 'g2denet'\] for distribution='full', got 'kl'",
        ),
        (dict(distribution='laplace'), r"one of \['kl'\] for distribution='laplace', got 'w2'"),
        (
            dict(distance='kl', mean_cov_ratio=2.0),
            r"mean_cov_ratio means nothing to .*'kl': its options are \['eps', 'unbiased'\]",
        ),
        (dict(mean=1.0), r"mean means nothing to .* \['mean_cov_ratio', 'eps', 'unbiased'\]"),
        (dict(mean_cov_ratio=-1.0), 'mean_cov_ratio must not be negative, got -1.0'),
        (dict(eps=0.0), 'eps must be positive, got 0.0'),
        (dict(distribution='pmf', epsilon=0.0), 'epsilon must be positive, got 0.0'),
        (
            dict(distribution='pmf', num_iters=0),
            'num_iters must be an integer of at least 1, got 0',
        ),
    ],
)
def test_wrong_arguments(change, message):
    arguments = dict(student=torch.ones(2, 3, 4, 4), teacher=torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match=message):
        feature_distribution_loss(**(arguments | change))


# Maps of different sizes


@pytest.mark.parametrize('grid', [1, 2])
@pytest.mark.parametrize(('distribution', 'distance'), FEATURE_DISTANCES)
def test_size_does_not_matter_where_moments_describe_the_cells(distribution, distance, grid):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    finer = teacher.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)  # the same moments
    options = dict(distribution=distribution, distance=distance, grid=grid)
    if distribution in ('diag', 'full', 'laplace'):
        options['unbiased'] = False
    if distribution in ('pmf', 'channel_gram', 'spatial_mean', 'spatial_gram'):
        with pytest.raises(ValueError, match='must share a shape'):
            feature_distribution_loss(student, finer, **options)
        return
    expected = feature_distribution_loss(student, teacher, **options)
    found = feature_distribution_loss(student, finer, **options)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # other order of the sums
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match='must share a shape'):
        feature_distribution_loss(student, finer, mask=mask, **options)
    with pytest.raises(ValueError, match='only H and W may differ'):
        feature_distribution_loss(student[:, :2], finer, **options)
