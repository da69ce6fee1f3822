"""Gaussians of classes: closed forms, scipy and POT, shrinkage, gradients and errors."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import scipy.linalg
import torch

from measured_calls import Operations
from random_tensors import random_features
from wkd_det.costs.gaussians import (
    class_gaussian_distance,
    gaussian_interrelation,
    shrink_covariance,
)
from wkd_det.ops.divergences import bures_squared

# Sums of some hundred float64 products: 1e-13 and less; 1e-10 is far below any wrong formula.
EXACT = dict(rtol=1e-10, atol=1e-10)
# Float32 rounding (6e-8) through a Gram matrix and a quotient of sums over it.
FLOAT32 = dict(rtol=0, atol=5e-6)


def random_gaussians(classes=6, dims=4, examples=9, seed=0):
    features = random_features(classes, examples, dims, seed=seed)
    features = features * torch.linspace(0.5, 2, classes, dtype=torch.float64)[:, None, None]
    features = features + random_features(classes, 1, dims, seed=seed + 1)
    centred = features - features.mean(1, keepdim=True)
    return features.mean(1), centred.mT @ centred / (examples - 1)


def test_distance_of_isotropic_gaussians():
    mean = torch.zeros(2, 5)
    mean[1, 0] = 3
    variance = torch.tensor([[4.0], [9.0]]).expand(2, 5)
    expected = 3**2 + 5 * (3 - 2) ** 2
    for covariance in (variance, torch.diag_embed(variance)):
        result = class_gaussian_distance(mean, covariance)
        assert result[0, 1].item() == pytest.approx(expected, rel=1e-6)  # float32 result


@pytest.mark.parametrize('examples', [3, 9])  # 3 examples: singular matrices of rank 2
def test_full_distance_equals_scipy_and_pot(examples):
    mean, covariance = random_gaussians(examples=examples)
    result = class_gaussian_distance(mean, covariance)
    for i in range(6):
        for j in range(6):
            one, other = covariance[i].numpy(), covariance[j].numpy()
            # sqrtm of a singular matrix is off by sqrt of the rounding, 1e-8.
            tolerance = 1e-6 if examples == 3 else 1e-10
            root = scipy.linalg.sqrtm(one + 0j)
            cross = scipy.linalg.sqrtm(root @ other @ root).real
            bures = np.trace(one + other - 2 * cross)
            expected = ((mean[i] - mean[j]) ** 2).sum().item() + bures
            assert result[i, j].item() == pytest.approx(expected, abs=tolerance)
            if examples == 9:
                distance = ot.gaussian.bures_wasserstein_distance(
                    mean[i].numpy(), mean[j].numpy(), one, other
                )
                # POT takes the root, which near 0 is that of the rounding.
                assert result[i, j].item() == pytest.approx(distance**2, abs=1e-10)


def test_diagonal_distance_equals_numpy():
    mean, covariance = random_gaussians()
    variance = covariance.diagonal(dim1=1, dim2=2)
    m, s = mean.numpy(), np.sqrt(variance.numpy())
    expected = ((m[:, None] - m) ** 2).sum(-1) + ((s[:, None] - s) ** 2).sum(-1)
    for form in (variance, torch.diag_embed(variance)):
        result = class_gaussian_distance(mean, form)
        torch.testing.assert_close(result, torch.from_numpy(expected), **EXACT)


def test_full_distance_agrees_with_the_loss_function():
    mean, covariance = random_gaussians()
    result = class_gaussian_distance(torch.zeros_like(mean), covariance)
    expected = bures_squared(covariance[:, None].expand(6, 6, 4, 4), covariance.expand(6, 6, 4, 4))
    torch.testing.assert_close(result, expected, **EXACT)


def test_vanishing_covariances_leave_the_means():
    mean, covariance = random_gaussians()
    expected = torch.cdist(mean, mean).square()
    for form in (covariance, covariance.diagonal(dim1=1, dim2=2)):
        # 1e-10 of the covariance is left, its square root enters twice with opposite signs.
        result = class_gaussian_distance(mean, form * 1e-10)
        torch.testing.assert_close(result, expected, rtol=1e-7, atol=1e-7)


def test_mean_cov_ratio_weights_the_means():
    mean, covariance = random_gaussians()
    none = torch.zeros_like(mean)
    for form in (covariance, covariance.diagonal(dim1=1, dim2=2)):
        expected = class_gaussian_distance(none, form) + 3 * torch.cdist(mean, mean).square()
        result = class_gaussian_distance(mean, form, mean_cov_ratio=3.0)
        torch.testing.assert_close(result, expected, **EXACT)


def test_distance_is_a_squared_metric():
    mean, covariance = random_gaussians(classes=8)
    covariance[5], mean[5] = covariance[2], mean[2]
    for form in (covariance, covariance.diagonal(dim1=1, dim2=2)):
        squared = class_gaussian_distance(mean, form)
        assert torch.equal(squared, squared.mT)
        assert squared.diagonal().abs().max() == 0
        assert squared[2, 5] == 0
        root = squared.sqrt()
        triangle = root[:, :, None] + root[None] - root[:, None]  # d(i, j) + d(j, k) - d(i, k)
        assert triangle.min() > -1e-9  # rounding of the square roots


@pytest.mark.parametrize('block_size', [1, 4, 100])
def test_gaussian_block_size_changes_nothing(block_size):
    mean, covariance = random_gaussians()
    torch.testing.assert_close(
        class_gaussian_distance(mean, covariance, block_size=block_size),
        class_gaussian_distance(mean, covariance),
        **EXACT,
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_few_examples_cost_as_few_dimensions(dtype):
    mean, covariance = random_gaussians(dims=40, examples=4)
    with Operations() as operations:
        result = class_gaussian_distance(mean.to(dtype), covariance.to(dtype), block_size=10)
    assert operations.svd_shapes == [(10, 3, 3), (5, 3, 3)]
    # sqrt(eigenvalue) of the rounding that is dropped, against factors of about 2.
    expected = class_gaussian_distance(mean, covariance)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=0)


def test_diagonal_distance_needs_no_loop():
    numbers = []
    for classes in (4, 40):
        mean, covariance = random_gaussians(classes)
        variance = covariance.diagonal(dim1=1, dim2=2)
        with Operations() as operations:
            class_gaussian_distance(mean, variance)
        numbers.append(operations.number)
        assert operations.largest <= max(classes**2, 2 * classes * 4)
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize('full', [False, True])
def test_the_median_pair_has_interrelation_one_over_e(full):
    mean, covariance = random_gaussians()
    form = covariance if full else covariance.diagonal(dim1=1, dim2=2)
    result = gaussian_interrelation(mean, form)
    assert torch.equal(result, result.mT)
    assert torch.equal(result.diagonal(), torch.ones(6, dtype=torch.float64))
    assert 0 <= result.min() <= result.max() <= 1
    values = np.sort(result.numpy()[np.triu_indices(6, 1)])
    assert values[len(values) // 2] == pytest.approx(np.exp(-1), abs=1e-12)  # 15 pairs
    # The unit of the features does not matter.
    torch.testing.assert_close(gaussian_interrelation(10 * mean, 100 * form), result, **EXACT)
    # With a scale it does, and the rule is exp(-distance / scale).
    distance = class_gaussian_distance(mean, form)
    given = gaussian_interrelation(mean, form, scale=2.5)
    torch.testing.assert_close(given, (-distance / 2.5).exp(), **EXACT)


def test_diagonal_interrelation_is_positive_definite():
    mean, covariance = random_gaussians(classes=20)
    result = gaussian_interrelation(mean, covariance.diagonal(dim1=1, dim2=2))
    assert torch.linalg.eigvalsh(result).min() > -1e-12  # rounding


def test_shrinkage_by_hand():
    covariance = torch.tensor([[[4.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 8.0]]])
    diagonal = shrink_covariance(covariance, shrinkage=0.5, shrinkage_target='diagonal')
    assert diagonal.tolist() == [[[4.0, 1.0], [1.0, 4.0]], [[2.0, 0.0], [0.0, 8.0]]]
    pooled = shrink_covariance(covariance, shrinkage=1.0)
    assert pooled.tolist() == [[[3.0, 1.0], [1.0, 6.0]]] * 2
    weighted = shrink_covariance(covariance, shrinkage=1.0, counts=torch.tensor([3, 1]))
    assert weighted.tolist() == [[[3.5, 1.5], [1.5, 5.0]]] * 2
    each = shrink_covariance(covariance, shrinkage=torch.tensor([0.0, 1.0]))
    assert each.tolist() == [covariance[0].tolist(), pooled[1].tolist()]
    variances = shrink_covariance(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), shrinkage=0.25)
    assert variances.tolist() == [[1.25, 2.0], [2.75, 2.0]]
    assert torch.equal(shrink_covariance(covariance, shrinkage=0.0), covariance)


def test_interrelation_shrinks_first():
    mean, covariance = random_gaussians()
    shrunk = shrink_covariance(covariance, shrinkage=0.3, shrinkage_target='diagonal')
    torch.testing.assert_close(
        gaussian_interrelation(mean, covariance, shrinkage=0.3, shrinkage_target='diagonal'),
        gaussian_interrelation(mean, shrunk),
        **EXACT,
    )
    # All covariances equal: the means alone are left.
    torch.testing.assert_close(
        gaussian_interrelation(mean, covariance, shrinkage=1.0, scale=1.0),
        (-torch.cdist(mean, mean).square()).exp(),
        **EXACT,
    )


def test_gaussian_gradient():
    mean, covariance = random_gaussians(classes=3, dims=2)
    root = torch.linalg.cholesky(covariance).requires_grad_()
    variance = covariance.diagonal(dim1=1, dim2=2).clone().requires_grad_()
    mean.requires_grad_()
    options = dict(mean_cov_ratio=2.0, shrinkage=0.1)
    assert torch.autograd.gradcheck(
        lambda m, v: gaussian_interrelation(m, v, **options), (mean, variance)
    )
    assert torch.autograd.gradcheck(
        lambda m, r: gaussian_interrelation(m, r @ r.mT, **options), (mean, root)
    )


MEAN, FULL = random_gaussians(classes=3, dims=2)
VARIANCE = FULL.diagonal(dim1=1, dim2=2)
SKEW = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
THIRD = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ('mean', 'covariance', 'options', 'message'),
    [
        (MEAN[0], VARIANCE, {}, r'mean must have a shape \(C, D\) .* got \(2,\)'),
        (MEAN[:1], VARIANCE[:1], {}, r'at least 2 classes, got \(1, 2\)'),
        (MEAN, VARIANCE[:2], {}, r'covariance must have the shape \(3, 2\) or \(3, 2, 2\)'),
        (MEAN / THIRD[:, None], VARIANCE, {}, 'mean must be finite, .* in class 0'),
        (MEAN, VARIANCE * float('inf'), {}, 'covariance must be finite, .* in class 0'),
        (MEAN, VARIANCE - 99 * THIRD[:, None], {}, 'variances must not be negative, .* class 2'),
        (MEAN, FULL + THIRD[:, None, None] * SKEW, {}, 'must be symmetric, .* in class 2'),
        (
            MEAN,
            FULL - 99 * torch.diag_embed(THIRD[:, None].expand(3, 2)),
            {},
            'positive semi-definite, got the eigenvalue -9.* in class 2',
        ),
        (MEAN, VARIANCE, dict(scale=0.0), 'scale must be positive, got 0.0'),
        (0 * MEAN, 0 * VARIANCE, {}, 'scale has no default .* half of the pairs'),
        (
            MEAN,
            VARIANCE,
            dict(mean_cov_ratio=-1.0),
            'mean_cov_ratio must not be negative, got -1.0',
        ),
        (MEAN, FULL, dict(block_size=0), 'block_size must be an integer of at least 1, got 0'),
        (MEAN, FULL, dict(shrinkage=1.5), r'shrinkage must lie in \[0, 1\], got 1.5'),
        (MEAN, FULL, dict(shrinkage=float('nan')), r'shrinkage must lie in \[0, 1\], got nan'),
        (MEAN, FULL, dict(shrinkage=torch.ones(2)), r'have the shape \(3,\), got \(2,\)'),
        (MEAN, FULL, dict(shrinkage_target='mean'), "one of .* got 'mean'"),
        (
            MEAN,
            VARIANCE,
            dict(shrinkage=0.5, shrinkage_target='diagonal'),
            r'needs covariance matrices \(C, D, D\), got variances \(3, 2\)',
        ),
        (
            MEAN,
            FULL,
            dict(shrinkage_target='diagonal', counts=torch.ones(3)),
            'counts weight the pooled covariance',
        ),
        (MEAN, FULL, dict(counts=torch.ones(2)), r'counts must have the shape \(3,\), got \(2,\)'),
        (MEAN, FULL, dict(counts=-torch.ones(3)), 'counts must not be negative'),
        (MEAN, FULL, dict(counts=torch.zeros(3)), 'counts must .* have a positive sum'),
    ],
)
def test_gaussian_refuses(mean, covariance, options, message):
    with pytest.raises(ValueError, match=message):
        gaussian_interrelation(mean, covariance, **options)
