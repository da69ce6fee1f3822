"""Divergences, matrix roots, Bures and Gram distances: closed forms, other libraries, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Exponential, Laplace, Normal, kl_divergence
from torch.testing import assert_close

from wkd_det.ops.divergences import (
    bures_squared,
    exponential_kl,
    gaussian_kl,
    laplace_kl,
    matrix_root,
    squared_gram_distance,
)

# Bures distance


# Float64 eigenvalues of well-conditioned matrices near 1.
EXACT = dict(rtol=1e-10, atol=1e-10)


def covariances(*batch, channels=4, pixels=9, seed=0, scale=1.0):
    """Two batches of features, and their covariances: singular unless ``pixels > channels``."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(2, *batch, channels, pixels, generator=generator, dtype=torch.float64)
    return scale * data, covariance(scale * data)


def covariance(data):
    centred = data - data.mean(dim=-1, keepdim=True)
    return centred @ centred.mT / (data.shape[-1] - 1)


def scipy_bures(first, second):
    root = scipy.linalg.sqrtm(second.numpy()).real
    middle = scipy.linalg.sqrtm(root @ first.numpy() @ root).real
    return float(first.trace() + second.trace() - 2 * middle.trace())


@pytest.mark.parametrize(
    ('first', 'second', 'expected'),
    [
        ([4.0, 9.0], [1.0, 1.0], 1 + 4),
        ([0.0, 4.0], [1.0, 0.0], 1 + 4),  # singular, nothing in common
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([2.0, 3.0], [2.0, 3.0], 0),
    ],
)
def test_diagonal_matrices_compare_standard_deviations(first, second, expected):
    first, second = (torch.diag(torch.tensor(d, dtype=torch.float64)) for d in (first, second))
    assert bures_squared(first, second).item() == pytest.approx(expected, abs=1e-12)  # float64
    assert bures_squared(second, first).item() == pytest.approx(expected, abs=1e-12)


def test_one_channel():
    first, second = torch.tensor([[[4.0]], [[9.0]]]), torch.tensor([[[1.0]], [[4.0]]])
    value = bures_squared(first, second)
    assert value.dtype == torch.float64
    assert_close(value, torch.tensor([1.0, 1.0], dtype=torch.float64), **EXACT)


def test_a_multiple_of_a_matrix():
    _, (matrix, _) = covariances()
    # tr (1 + 9 - 2 * 3) A
    assert_close(bures_squared(9 * matrix, matrix), 4 * matrix.trace(), **EXACT)


@pytest.mark.parametrize('channels', [1, 2, 8])
def test_matrix_roots_of_scipy(channels):
    _, (first, second) = covariances(5, channels=channels, pixels=20)
    expected = [scipy_bures(a, b) for a, b in zip(first, second)]
    assert_close(bures_squared(first, second), torch.tensor(expected, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize('pixels', [2, 4, 8])
def test_singular_covariances_are_a_nuclear_norm_of_the_features(pixels):
    """``tr (B^1/2 A B^1/2)^1/2 = |X^T Y|_* / (m - 1)`` for ``A = X X^T / (m - 1)``."""
    data, (first, second) = covariances(3, channels=8, pixels=pixels)
    x, y = data - data.mean(dim=-1, keepdim=True)
    nuclear = torch.linalg.matrix_norm(x.mT @ y, ord='nuc') / (pixels - 1)
    traces = (first + second).diagonal(dim1=-2, dim2=-1).sum(-1)
    # Roots of eigenvalues that are 0 up to 1e-16 are up to 1e-8, one per missing dimension.
    assert_close(bures_squared(first, second), traces - 2 * nuclear, rtol=0, atol=2e-7)


def test_gradient_with_singular_covariances_of_large_features():
    """Few pixels, large values: the ridge is 1e-9 of the variances and less."""
    pixels = 4
    for scale in (1.0, 1e2, 1e4):
        data, _ = covariances(6, channels=8, pixels=pixels, scale=scale)
        x, y = data[0].requires_grad_(), data[1]
        bures_squared(covariance(x), covariance(y), eps=1e-5).sum().backward()
        free = data[0].detach().clone().requires_grad_()
        centred, other = (z - z.mean(dim=-1, keepdim=True) for z in (free, y))
        # Without the ridge: the nuclear norm is smooth on the dimensions that pixels span.
        u, _, vh = torch.linalg.svd(centred.mT @ other, full_matrices=False)
        keep = torch.ones(pixels, dtype=torch.float64)
        keep[-1] = 0  # of the mean
        fidelity = ((u * keep) @ vh).detach() * (centred.mT @ other)
        distance = (centred.square().sum() - 2 * fidelity.sum()) / (pixels - 1)
        distance.backward()
        # The ridge adds terms of sqrt(eps) / scale; from 1e4 on the eigenvalues of the product
        # are known to 1e-16 of the largest, their roots to 1e-8, and the ridge is 1e-13.
        atol = max(10 * 1e-5**0.5 / scale, 1e-3) * scale
        assert_close(x.grad, free.grad, rtol=0, atol=atol)


def test_symmetric_in_its_arguments_and_unchanged_by_rotation():
    _, (first, second) = covariances(3)
    value = bures_squared(first, second)
    assert_close(bures_squared(second, first), value, **EXACT)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    rotated = bures_squared(rotation @ first @ rotation.mT, rotation @ second @ rotation.mT)
    assert_close(rotated, value, **EXACT)


def test_eps_is_added_to_both_diagonals():
    _, (first, second) = covariances(2)
    ridge = 0.1 * torch.eye(4, dtype=torch.float64)
    assert_close(
        bures_squared(first, second, eps=0.1), bures_squared(first + ridge, second + ridge), **EXACT
    )


@pytest.mark.parametrize('pixels', [9, 3])
def test_gradcheck_of_bures(pixels):
    data, _ = covariances(2, channels=4, pixels=pixels)
    x, y = (part.clone().requires_grad_() for part in data)
    # The ridge keeps the curvature of singular matrices within reach of finite differences.
    assert torch.autograd.gradcheck(
        lambda x, y: bures_squared(covariance(x), covariance(y), eps=0.1), (x, y)
    )


@pytest.mark.parametrize('pixels', [9, 3, 2])
def test_equal_matrices_have_value_and_gradient_zero(pixels):
    data, _ = covariances(3, pixels=pixels)
    x, y = (data[0].clone().requires_grad_() for _ in range(2))
    value = bures_squared(covariance(x), covariance(y), eps=1e-5)
    value.sum().backward()
    # Roots of eigenvalues of the product, near 1e-10, that are known to 1e-16.
    assert value.abs().max() <= 1e-8
    assert x.grad.abs().max() <= 1e-8
    assert y.grad.abs().max() <= 1e-8


def test_equal_eigenvalues_are_harmless():
    first = (3 * torch.eye(4)).requires_grad_()
    second = torch.eye(4, requires_grad=True)
    bures_squared(first, second).backward()
    # d/ds (s - 1)^2 by variances: 1 - 1/s and 1 - s, s the ratio of standard deviations.
    assert_close(first.grad, (1 - 3**-0.5) * torch.eye(4), rtol=1e-6, atol=1e-6)  # float32 result
    assert_close(second.grad, (1 - 3**0.5) * torch.eye(4), rtol=1e-6, atol=1e-6)


def test_zero_matrices_have_finite_gradients():
    for eps in (0.0, 1e-5):
        first = torch.zeros(2, 3, 3, requires_grad=True)
        second = torch.zeros(2, 3, 3, requires_grad=True)
        bures_squared(first, second, eps=eps).sum().backward()
        assert torch.isfinite(first.grad).all()
        assert torch.isfinite(second.grad).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    channels=st.integers(1, 6),
    pixels=st.integers(2, 9),
    batch=st.lists(st.integers(0, 3), max_size=2),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_any_shape_lies_between_zero_and_the_traces(channels, pixels, batch, scale, seed):
    _, (first, second) = covariances(
        *batch, channels=channels, pixels=pixels, scale=scale, seed=seed
    )
    value = bures_squared(first, second, eps=1e-5)
    traces = (first + second).diagonal(dim1=-2, dim2=-1).sum(-1) + 2e-5 * channels
    assert value.shape == tuple(batch)
    # Roots of eigenvalues that are known to 1e-16 of the largest are known to 1e-8 of its root.
    assert (value >= -1e-6 * traces).all()
    assert (value <= traces * (1 + 1e-6)).all()


# Kullback-Leibler divergences


CLOSE = dict(rtol=1e-12, atol=1e-12)  # a dozen float64 operations


def numbers(count, *, positive=False, seed=0):
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed)).double()
    return values.exp() if positive else values


ARGUMENTS = (
    numbers(20),
    numbers(20, positive=True, seed=1),
    numbers(20, seed=2),
    numbers(20, positive=True, seed=3),
)


def test_gaussian_of_torch():
    mean, variance, other_mean, other_variance = ARGUMENTS
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(other_mean, other_variance**0.5))
    assert_close(gaussian_kl(*ARGUMENTS), expected, **CLOSE)


def test_laplace_of_torch():
    mean, scale, other_mean, other_scale = ARGUMENTS
    expected = kl_divergence(Laplace(mean, scale), Laplace(other_mean, other_scale))
    assert_close(laplace_kl(*ARGUMENTS), expected, **CLOSE)


def test_exponential_of_torch():
    _, rate, _, other_rate = ARGUMENTS
    expected = kl_divergence(Exponential(rate), Exponential(other_rate))
    assert_close(exponential_kl(rate, other_rate), expected, **CLOSE)


@pytest.mark.parametrize('function', [gaussian_kl, laplace_kl])
def test_divergence_and_gradient_are_zero_at_equality(function):
    mean, spread = ARGUMENTS[0].clone().requires_grad_(), ARGUMENTS[1].clone().requires_grad_()
    value = function(ARGUMENTS[0], ARGUMENTS[1], mean, spread)
    assert_close(value, torch.zeros_like(value), **CLOSE)
    for grad in torch.autograd.grad(value.sum(), (mean, spread)):
        assert_close(grad, torch.zeros_like(grad), **CLOSE)


def test_gradcheck_of_the_divergences():
    arguments = [value.clone().requires_grad_() for value in ARGUMENTS]
    assert torch.autograd.gradcheck(gaussian_kl, arguments)
    assert torch.autograd.gradcheck(laplace_kl, arguments)
    assert torch.autograd.gradcheck(exponential_kl, arguments[1::2])


# Matrix root


def matrices(count=3, size=4, rank=9, seed=0):
    data = torch.randn(count, size, rank, generator=torch.Generator().manual_seed(seed)).double()
    return data @ data.mT


def test_root_of_scipy():
    expected = np.stack([scipy.linalg.sqrtm(matrix.numpy()).real for matrix in matrices()])
    assert_close(matrix_root(matrices()), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('rank', [1, 4, 9])
def test_the_square_of_the_root_is_the_matrix(rank):
    root = matrix_root(matrices(rank=rank))
    assert_close(root @ root, matrices(rank=rank), rtol=1e-10, atol=1e-10)
    assert_close(root, root.mT, rtol=1e-10, atol=1e-10)


def test_gradcheck_of_the_root():
    def function(data):
        return matrix_root(data @ data.mT)

    data = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(function, (data.requires_grad_(),))


def test_gradient_of_the_root_at_equal_eigenvalues():
    """At c I the root moves as the matrix, divided by 2 sqrt(c)."""
    matrix = (4 * torch.eye(3)).double().requires_grad_()
    direction = matrices(1, 3)[0]
    (grad,) = torch.autograd.grad((matrix_root(matrix) * direction).sum(), matrix)
    assert_close(grad, direction / 4, rtol=1e-12, atol=1e-12)


def test_gradient_of_the_root_of_singular_matrices_is_finite():
    for matrix in (torch.zeros(2, 3, 3).double(), matrices(rank=1)):
        matrix.requires_grad_()
        matrix_root(matrix).sum().backward()
        assert torch.isfinite(matrix.grad).all()


# Gram distance


SHAPES = pytest.mark.parametrize('shape', [(3, 7), (7, 3), (4, 4), (1, 5), (5, 1)])


def pair(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, *shape, generator=generator, dtype=torch.float64).to(dtype).unbind(0)


@SHAPES
def test_gram_distance_is_the_norm_of_the_difference(shape):
    student, teacher = pair(shape)
    expected = (student @ student.mT - teacher @ teacher.mT).square().sum(dim=(1, 2))
    assert_close(squared_gram_distance(student, teacher), expected, rtol=1e-12, atol=1e-12)


@SHAPES
def test_gradcheck_of_the_gram_distance(shape):
    student, teacher = (values.requires_grad_() for values in pair(shape))
    assert torch.autograd.gradcheck(squared_gram_distance, (student, teacher))


@SHAPES
def test_gram_distance_is_exactly_zero_at_equality(shape):
    student, teacher = pair(shape, dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    value = squared_gram_distance(student, teacher)
    value.sum().backward()
    assert (value == 0).all()
    assert (student.grad == 0).all()


@SHAPES
def test_gram_distance_in_float32_keeps_its_digits_near_equality(shape):
    student, teacher = pair(shape)
    student = teacher + 2.0**-10 * student
    expected = squared_gram_distance(student, teacher)
    value = squared_gram_distance(student.float(), teacher.float())
    # The inputs are rounded at 1e-7, so their difference at 1e-4.
    assert_close(value.double(), expected, rtol=2e-3, atol=0)
