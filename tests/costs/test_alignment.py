"""CKA: by hand, the reference, its definition, limits, memory and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from measured_calls import Operations
from random_tensors import random_features
from wkd_det.costs.alignment import cka

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


@pytest.mark.parametrize('options', [KERNELS[0], KERNELS[1], KERNELS[5]], ids=str)
def test_cka_needs_no_loop_over_classes_and_bounded_memory(options):
    numbers = []
    for classes in (16, 64):
        with Operations() as operations:
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
