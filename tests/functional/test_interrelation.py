"""Interrelations of classes: CKA, cosine, Gaussian, and the cost made from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wkd_det.costs.gaussians import class_gaussian_distance, shrink_covariance
from wkd_det.costs.matrix import check_cost, check_interrelation, check_symmetric
from wkd_det.functional import (
    bures_squared,
    cka,
    cosine_interrelation,
    distance_to_cost,
    gaussian_interrelation,
    interrelation_to_cost,
)

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
KERNELS = [
    dict(kernel='linear'),
    dict(kernel='polynomial', degree=2),
    dict(kernel='polynomial', degree=3),
    dict(kernel='polynomial', degree=4),
    dict(kernel='rbf', bandwidth=0.2),
    dict(kernel='rbf', bandwidth=0.4),
    dict(kernel='rbf', bandwidth=0.6),
]

# Sums of some hundred float64 products: 1e-13 and less; 1e-10 is far below any wrong formula.
EXACT = dict(rtol=1e-10, atol=1e-10)
# Float32 rounding (6e-8) through a Gram matrix and a quotient of sums over it.
FLOAT32 = dict(rtol=0, atol=5e-6)


def random_features(classes=5, examples=12, dims=7, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, examples, dims, generator=generator, dtype=torch.float64).to(dtype)


def naive_cka(features, kernel, degree=2, bandwidth=0.4):
    """The definition, pair by pair, with the centring matrix written out."""
    centring = np.eye(features.shape[1]) - 1 / features.shape[1]
    grams = []
    for x in features:
        gram = x @ x.T
        if kernel == 'polynomial':
            gram = (gram + 1) ** degree
        if kernel == 'rbf':
            distance = ((x[:, None] - x[None]) ** 2).sum(-1)
            median = np.sort(distance, axis=None)[(distance.size - 1) // 2]
            gram = np.exp(-distance / (2 * bandwidth**2 * median))
        grams.append(centring @ gram @ centring)
    hsic = np.array([[np.trace(a @ b) for b in grams] for a in grams])
    return hsic / np.sqrt(np.outer(hsic.diagonal(), hsic.diagonal()))


# CKA


def test_cka_of_one_dimension_is_the_squared_correlation():
    first, second = [1.0, 2.0, 4.0, -3.0], [0.5, 1.0, -1.0, 2.0]
    expected = np.corrcoef(first, second)[0, 1] ** 2
    features = torch.tensor([first, second], dtype=torch.float64)[..., None]
    assert cka(features)[0, 1].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('case', ['cka_0', 'cka_1'])
def test_cka_equals_the_reference_implementation(case):
    golden = np.load(GOLDEN)
    features = torch.from_numpy(golden[f'{case}/features'])
    linear = cka(features)
    rbf = cka(features, kernel='rbf', bandwidth=float(golden[f'{case}/rbf_sigma']))
    # Both sides are float32; measured differences are below 4e-7.
    torch.testing.assert_close(
        linear, torch.from_numpy(golden[f'{case}/linear']), rtol=0, atol=2e-6
    )
    torch.testing.assert_close(rbf, torch.from_numpy(golden[f'{case}/rbf']), rtol=0, atol=2e-6)


@pytest.mark.parametrize('options', KERNELS, ids=str)
@pytest.mark.parametrize('examples', [6, 11])
def test_cka_equals_its_definition(options, examples):
    features = random_features(examples=examples)
    expected = torch.from_numpy(naive_cka(features.numpy(), **options))
    torch.testing.assert_close(cka(features, **options), expected, **EXACT)
    torch.testing.assert_close(cka(features.float(), **options), expected.float(), **FLOAT32)


def test_rbf_of_infinite_bandwidth_is_linear():
    features = random_features()
    # The next term of the exponential series is 1 / bandwidth^2 smaller.
    torch.testing.assert_close(
        cka(features, kernel='rbf', bandwidth=1e3), cka(features), rtol=0, atol=1e-5
    )


def test_polynomial_of_degree_one_is_linear():
    features = random_features()
    torch.testing.assert_close(cka(features, kernel='polynomial', degree=1), cka(features), **EXACT)


def test_independent_features_align_less_with_more_examples():
    few = cka(random_features(classes=2, examples=10, dims=4))[0, 1].item()
    many = cka(random_features(classes=2, examples=4000, dims=4))[0, 1].item()
    # Expected about dims / examples = 1e-3.
    assert many < 5e-3 < 0.1 < few


@pytest.mark.parametrize('options', KERNELS, ids=str)
def test_cka_range_symmetry_and_diagonal(options):
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        result = cka(random_features(dtype=dtype), **options)
        assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(result, result.mT)
        assert torch.equal(result.diagonal(), torch.ones_like(result.diagonal()))
        assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize('options', KERNELS, ids=str)
@pytest.mark.parametrize('block_size', [1, 5, 12, 100])
def test_block_size_changes_nothing(options, block_size):
    features = random_features()
    torch.testing.assert_close(
        cka(features, block_size=block_size, **options), cka(features, **options), **EXACT
    )


@pytest.mark.parametrize('options', [KERNELS[0], KERNELS[5]], ids=str)
def test_linear_and_rbf_ignore_shift_scale_and_rotation(options):
    features = random_features()
    rotation = torch.linalg.qr(random_features(1, 7, 7)[0]).Q
    moved = features.clone()
    moved[1] = 1e6 * features[1] @ rotation
    moved[2] = features[2] + 100
    moved[3] = 1e-6 * features[3]
    # The shift costs two digits of float64.
    torch.testing.assert_close(cka(moved, **options), cka(features, **options), **EXACT)


def test_examples_are_paired_by_position():
    features = random_features()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cka(features[:, order]), cka(features), **EXACT)
    one_class = features.clone()
    one_class[0] = features[0, order]
    assert (cka(one_class) - cka(features)).abs().max() > 0.05


@pytest.mark.parametrize('options', [KERNELS[0], KERNELS[5]], ids=str)
@pytest.mark.parametrize('size', [1e-15, 1e15])
def test_cka_of_extreme_sizes_in_float32(options, size):
    features = random_features(dtype=torch.float32)
    torch.testing.assert_close(cka(features * size, **options), cka(features, **options), **FLOAT32)


def test_polynomial_powers_do_not_overflow():
    features = random_features(dtype=torch.float32) * 1e8  # to the power 4 * 2 * 2: 1e128
    expected = naive_cka(features.double().numpy(), 'polynomial', 4)
    result = cka(features, kernel='polynomial', degree=4)
    torch.testing.assert_close(result, torch.from_numpy(expected).float(), **FLOAT32)


def test_linear_cka_keeps_its_precision_far_from_the_origin():
    features = random_features(dtype=torch.float32) + 1000
    expected = torch.from_numpy(naive_cka(features.double().numpy(), 'linear')).float()
    torch.testing.assert_close(cka(features), expected, **FLOAT32)


def test_autocast_does_not_lower_the_precision():
    features = random_features(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = cka(features)
    assert torch.equal(inside, cka(features))


class _Operations(TorchDispatchMode):
    """Number of operations, elements of the largest result, shapes of singular values."""

    def __init__(self):
        super().__init__()
        self.number = self.largest = 0
        self.svd_shapes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.number += 1
        if function.overloadpacket is torch.ops.aten._linalg_svd:
            self.svd_shapes.append(tuple(args[0].shape))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize('options', [KERNELS[0], KERNELS[1], KERNELS[5]], ids=str)
def test_cka_needs_no_loop_over_classes_and_bounded_memory(options):
    numbers = []
    for classes in (16, 64):
        with _Operations() as operations:
            cka(random_features(classes, 32, 8, torch.float32), block_size=2, **options)
        numbers.append(operations.number)
        # A block of Gram rows, and the features that the test makes; all matrices at once
        # would be 16 times the block.
        assert operations.largest <= max(classes * 2 * 32, classes * 32 * 8)
    assert numbers[1] <= 1.2 * numbers[0]


@pytest.mark.parametrize('options', KERNELS, ids=str)
def test_cka_gradient(options):
    features = random_features(classes=3, examples=5, dims=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cka(x, block_size=2, **options), features)


def _spoiled(classes, value):
    features = random_features(classes=30)
    features[classes] = value
    return features


@pytest.mark.parametrize(
    ('features', 'options', 'message'),
    [
        (torch.zeros(3, 4), {}, r'shape \(classes, examples, dims\), got \(3, 4\)'),
        (torch.zeros(0, 4, 2), {}, r'shape \(classes, examples, dims\), got \(0, 4, 2\)'),
        (torch.zeros(3, 4, 2, dtype=torch.long), {}, 'floating type, got torch.int64'),
        (torch.randn(3, 1, 2), {}, 'at least 2 examples per class, got 1'),
        (random_features(), dict(kernel='cosine'), "kernel must be one of .* got 'cosine'"),
        (random_features(), dict(degree=0), 'degree must be an integer of at least 1, got 0'),
        (random_features(), dict(degree=2.0), 'degree must be an integer .* got 2.0'),
        (random_features(), dict(bandwidth=0.0), 'bandwidth must be positive, got 0.0'),
        (random_features(), dict(block_size=0), 'block_size must be an integer .* got 0'),
        (_spoiled([7, 29], float('nan')), dict(block_size=1), 'finite, .* in class 7, 29$'),
        (_spoiled([7], float('inf')), {}, 'must be finite, got NaN or infinity in class 7$'),
        (_spoiled([0, 12], 0.1), {}, 'vary over the examples .* in class 0, 12$'),
        (_spoiled(list(range(12)), 0.0), {}, 'in class 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more$'),
    ],
)
def test_cka_refuses(features, options, message):
    with pytest.raises(ValueError, match=message):
        cka(features, **options)


def test_cka_refuses_a_class_that_varies_by_rounding_only():
    features = random_features(dtype=torch.float32)
    features[2] = features[2, 0].clone()
    features[2, 1::2] *= 1 + torch.finfo(torch.float32).eps
    assert not torch.equal(features[2, 0], features[2, 1])
    for options in KERNELS:
        with pytest.raises(ValueError, match=r'vary over the examples .* in class 2$'):
            cka(features, **options)


def test_equal_classes_do_not_exceed_one():
    features = random_features(1, 30, 1, torch.float32)
    sizes = torch.linspace(0.1, 9, 64)[:, None, None]  # rounding then exceeds 1 for some pairs
    result = cka(features * sizes)
    assert result.max() <= 1
    torch.testing.assert_close(result, torch.ones(64, 64), **FLOAT32)


def test_rbf_refuses_coinciding_examples():
    features = random_features(20, 12, 50, torch.float32)
    # As computed, the distance of equal examples is rounding: above 0 for some classes.
    features[:, :9] = features[:, :1].clone()
    features[3] = random_features(1, 12, 50, torch.float32, seed=1)[0]
    assert torch.isfinite(cka(features)).all()
    with pytest.raises(ValueError, match=r'0, .* in class 0, 1, 2, 4, .*, 10 and 9 more$'):
        cka(features, kernel='rbf')


def test_cka_refuses_a_kernel_lost_in_rounding():
    features = random_features(dtype=torch.float32) * 1e-6  # x y + 1 is 1 in float32
    assert torch.isfinite(cka(features)).all()
    with pytest.raises(ValueError, match=r'does not vary in the precision .* class 0, 1, 2, 3, 4$'):
        cka(features, kernel='polynomial')


# Cosine


def test_cosine_of_known_angles():
    result = cosine_interrelation(torch.tensor([[2.0, 0.0], [1.0, 3**0.5], [-5.0, 0.0]]))
    expected = torch.tensor([[1.0, 0.5, -1.0], [0.5, 1.0, -0.5], [-1.0, -0.5, 1.0]])
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)  # float32 of sqrt(3)


@pytest.mark.parametrize('center', [False, True])
def test_cosine_equals_scipy(center):
    prototypes = random_features(1, 9, 6)[0] + 0.5
    points = prototypes.numpy() - (prototypes.numpy().mean(0) if center else 0)
    distance = scipy.spatial.distance.cdist(points, points, 'cosine')
    result = cosine_interrelation(prototypes, center=center)
    torch.testing.assert_close(1 - result, torch.from_numpy(distance), **EXACT)


def test_centring_is_the_limit_far_from_the_origin():
    prototypes = random_features(1, 9, 6)[0]
    far = prototypes + 1e4
    assert cosine_interrelation(far).min() > 0.999
    # The shift by 1e4 costs four digits of float64.
    torch.testing.assert_close(
        cosine_interrelation(far, center=True),
        cosine_interrelation(prototypes, center=True),
        rtol=0,
        atol=1e-9,
    )


@pytest.mark.parametrize('center', [False, True])
def test_cosine_range_symmetry_and_diagonal(center):
    prototypes = random_features(1, 20, 3)[0]
    for dtype in (torch.float64, torch.float32, torch.float16):
        result = cosine_interrelation(prototypes.to(dtype), center=center)
        assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(result, result.mT)
        assert torch.equal(result.diagonal(), torch.ones_like(result.diagonal()))
        assert -1 <= result.min() < -0.5 < 0.5 < result.max() <= 1


def test_cosine_ignores_length():
    prototypes = random_features(1, 5, 4)[0]
    lengths = torch.tensor([1e-30, 1e30, 1.0, 7.0, 0.1], dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        cosine_interrelation(prototypes * lengths), cosine_interrelation(prototypes), **EXACT
    )


def test_centred_cosine_of_two_classes_is_opposite():
    result = cosine_interrelation(torch.tensor([[1.0, 5.0], [2.0, 3.0]]), center=True)
    assert torch.equal(result, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize('center', [False, True])
def test_cosine_gradient(center):
    prototypes = random_features(1, 5, 4)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cosine_interrelation(x, center=center), prototypes)


@pytest.mark.parametrize(
    ('prototypes', 'center', 'message'),
    [
        (torch.ones(3), False, r'shape \(C, D\) with at least 2 classes, got \(3,\)'),
        (torch.ones(1, 3), False, r'at least 2 classes, got \(1, 3\)'),
        (torch.tensor([[1.0], [float('nan')]]), False, 'finite, got NaN .* in class 1'),
        (torch.tensor([[1.0], [2.0], [0.0]]), False, 'must not be zero .* got class 2'),
        (torch.tensor([[1.0], [2.0], [3.0]]), True, 'differ from their common mean .* class 1'),
        (torch.full((3, 2), 0.1), True, 'differ from their common mean .* class 0'),
    ],
)
def test_cosine_refuses(prototypes, center, message):
    with pytest.raises(ValueError, match=message):
        cosine_interrelation(prototypes, center=center)


# Gaussian


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
                # POT takes the root of the squared distance: 1e-8 near 0.
                assert result[i, j].sqrt().item() == pytest.approx(distance, abs=1e-7)


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
    with _Operations() as operations:
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
        with _Operations() as operations:
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


# Cost


def test_cost_by_hand():
    interrelation = torch.tensor([[1.0, 0.25], [0.25, 1.0]])
    assert interrelation_to_cost(interrelation, sharpness=0)[0, 1].item() == 0.75
    for sharpness in (1.0, 2.0):
        value = interrelation_to_cost(interrelation, sharpness=sharpness)[0, 1].item()
        assert value == pytest.approx(1 - np.exp(-sharpness * 0.75), abs=1e-7)  # float32


def test_small_sharpness_is_the_distance_times_sharpness():
    interrelation = cosine_interrelation(random_features(1, 6, 4)[0])
    result = interrelation_to_cost(interrelation, sharpness=1e-6)
    # The next term of the series is half of sharpness * d^2 <= 4e-6 of the first.
    torch.testing.assert_close(result / 1e-6, 1 - interrelation, rtol=0, atol=4e-6)


def test_large_sharpness_makes_all_costs_one():
    interrelation = cosine_interrelation(random_features(1, 6, 4)[0])
    result = interrelation_to_cost(interrelation, sharpness=1e4)
    torch.testing.assert_close(result, 1 - torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize('sharpness', [0, 1, 2.0])
def test_cost_is_a_cost(sharpness):
    interrelation = cosine_interrelation(random_features(1, 6, 4)[0].float())
    interrelation[0, 1] += 3e-7  # as built on a GPU
    interrelation[2, 2] -= 3e-7
    interrelation[3, 4] = interrelation[4, 3] = 1 + 3e-7
    cost = interrelation_to_cost(interrelation, sharpness=sharpness)
    check_cost(cost)
    assert torch.equal(cost, cost.mT)
    assert torch.equal(cost.diagonal(), torch.zeros(6))
    assert cost[3, 4] == 0
    if sharpness == 0:
        assert cost.max() > 1  # negative cosines are not clipped
    assert interrelation_to_cost(interrelation.half().float().half(), sharpness=1).dtype == (
        torch.float32
    )


@pytest.mark.parametrize('sharpness', [0, 1.5])
def test_cost_gradient(sharpness):
    prototypes = random_features(1, 5, 4)[0].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: interrelation_to_cost(cosine_interrelation(x), sharpness=sharpness), prototypes
    )


@pytest.mark.parametrize('sharpness', [0, 1, 2.0])
def test_cost_of_a_distance_is_that_of_the_similarity(sharpness):
    distance = 1 - cosine_interrelation(random_features(1, 6, 4)[0])
    result = distance_to_cost(distance, sharpness=sharpness)
    expected = interrelation_to_cost(1 - distance, sharpness=sharpness)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-15)  # rounding of 1 - d


@pytest.mark.parametrize('sharpness', [0, 1, 2.0])
def test_cost_of_a_distance_is_a_cost(sharpness):
    distance = 1 - cosine_interrelation(random_features(1, 6, 4)[0].float())
    distance[0, 1] += 3e-7  # as built on a GPU
    distance[2, 2] -= 3e-7
    distance[3, 4] = distance[4, 3] = -3e-7
    cost = distance_to_cost(distance, sharpness=sharpness)
    check_cost(cost)
    assert torch.equal(cost, cost.mT)
    assert cost[3, 4] == 0
    assert distance_to_cost(distance.half(), sharpness=1).dtype == torch.float32


@pytest.mark.parametrize('sharpness', [0, 1.5])
def test_gradient_of_the_cost_of_a_distance(sharpness):
    distance = (1 - cosine_interrelation(random_features(1, 5, 4)[0])).requires_grad_()
    upper = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    assert torch.autograd.gradcheck(
        lambda d: distance_to_cost((d * upper) + (d * upper).mT, sharpness=sharpness), distance
    )


def _changed(row, column, value, mirrored=True):
    matrix = torch.eye(4)
    matrix[row, column] = value
    if mirrored:
        matrix[column, row] = value
    return matrix


@pytest.mark.parametrize(
    ('interrelation', 'sharpness', 'message'),
    [
        (torch.eye(3), -1.0, 'sharpness must not be negative, got -1.0'),
        (torch.eye(3), float('nan'), 'sharpness must not be negative, got nan'),
        (torch.eye(3)[:2], 1.0, r'interrelation must be square, got shape \(2, 3\)'),
        (torch.eye(3)[None], 1.0, r'interrelation must be square, got shape \(1, 3, 3\)'),
        (torch.eye(1), 1.0, 'at least 2 classes, got 1'),
        (torch.eye(3).long(), 1.0, 'of a floating type, got torch.int64'),
        (_changed(1, 3, float('nan')), 1.0, r'must be finite, got nan at \(1, 3\)'),
        (_changed(2, 0, float('-inf')), 1.0, r'must be finite, got -inf at \(0, 2\)'),
        (_changed(1, 3, 0.5, False), 1.0, r'symmetric, got 0.5 at \(1, 3\) but 0.0 at \(3, 1\)'),
        (_changed(2, 2, 0.75), 1.0, r'must be 1 on the diagonal .* got 0.75 at \(2, 2\)'),
        (1 - torch.eye(3), 1.0, r'must be 1 on the diagonal .* got 0.0 at \(0, 0\)'),
        (_changed(1, 2, 1.5), 1.0, r'must not exceed 1, got 1.5 at \(1, 2\)'),
    ],
)
def test_cost_refuses(interrelation, sharpness, message):
    with pytest.raises(ValueError, match=message):
        interrelation_to_cost(interrelation, sharpness=sharpness)


@pytest.mark.parametrize(
    ('distance', 'sharpness', 'message'),
    [
        (torch.zeros(3, 3), -1.0, 'sharpness must not be negative, got -1.0'),
        (torch.zeros(3, 3)[:2], 1.0, r'distance must be square, got shape \(2, 3\)'),
        (torch.zeros(1, 1), 1.0, 'distance must cover at least 2 classes, got 1'),
        (torch.zeros(3, 3).long(), 1.0, 'distance must be of a floating type, got torch.int64'),
        (
            _changed(1, 3, float('nan')) - torch.eye(4),
            1.0,
            r'distance must be finite, got nan at \(1, 3\)',
        ),
        (
            _changed(1, 3, 0.5, False) - torch.eye(4),
            1.0,
            r'distance must be symmetric, got 0.5 at \(1, 3\) but 0.0 at \(3, 1\)',
        ),
        (
            torch.eye(3),
            1.0,
            r'distance must be 0 on the diagonal \(an interrelation is 1 there\), '
            r'got 1.0 at \(0, 0\)',
        ),
        (
            _changed(1, 2, -0.5) - torch.eye(4),
            1.0,
            r'distance must not be negative, got -0.5 at \(1, 2\)',
        ),
    ],
)
def test_cost_of_a_distance_refuses(distance, sharpness, message):
    with pytest.raises(ValueError, match=message):
        distance_to_cost(distance, sharpness=sharpness)


# Checks


NAMES = ('cat', 'dog', 'car', 'bus')


@pytest.mark.parametrize(
    ('check', 'matrix', 'message'),
    [
        (check_symmetric, _changed(1, 3, 0.5, False), r'at \(1, 3\) = \(dog, bus\) but 0.0'),
        (check_symmetric, torch.eye(3), '3 classes, got 4 class names'),
        (check_interrelation, _changed(0, 2, 2.0), r'got 2.0 at \(0, 2\) = \(cat, car\)'),
        (check_cost, torch.eye(4), r'cost must be 0 on the diagonal .* \(0, 0\) = \(cat, cat\)'),
        (
            check_cost,
            _changed(2, 3, -0.5) - torch.eye(4),
            r'cost must not be negative, got -0.5 at \(2, 3\) = \(car, bus\)',
        ),
    ],
)
def test_checks_name_the_classes(check, matrix, message):
    with pytest.raises(ValueError, match=message):
        check(matrix, class_names=NAMES)


def test_checks_let_good_matrices_pass():
    assert check_symmetric(torch.zeros(2, 2)) is None
    assert check_interrelation(torch.eye(4), class_names=NAMES) is None
    assert check_cost(1 - torch.eye(4), class_names=NAMES) is None
