"""Bures distance: closed forms, scipy's matrix root, features of too few pixels."""

from __future__ import annotations

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from wkd_det.functional import bures_squared

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


# Closed form


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


# Independent oracle


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


# Convention


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


# Gradients


@pytest.mark.parametrize('pixels', [9, 3])
def test_gradcheck(pixels):
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


# Properties


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
