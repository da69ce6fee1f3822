"""Cosine of classes, costs from distances, and the distance of unknown classes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from random_tensors import random_features
from wkd_det.costs.matrix import check_cost
from wkd_det.costs.similarity import (
    cosine_interrelation,
    distance_to_cost,
    interrelation_to_cost,
    with_unknown_classes,
)

# Sums of some hundred float64 products: 1e-13 and less; 1e-10 is far below any wrong formula.
EXACT = dict(rtol=1e-10, atol=1e-10)
# Float32 rounding (6e-8) through a Gram matrix and a quotient of sums over it.
FLOAT32 = dict(rtol=0, atol=5e-6)


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


# Cost


def _changed(row, column, value, mirrored=True):
    matrix = torch.eye(4)
    matrix[row, column] = value
    if mirrored:
        matrix[column, row] = value
    return matrix


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


# Unknown classes


def test_unknown_classes_take_a_given_distance():
    known = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    whole, value = with_unknown_classes(known, [0, 2], 3, value=0.25)
    assert value == 0.25
    assert torch.equal(whole, torch.tensor([[0, 0.25, 1], [0.25, 0, 0.25], [1, 0.25, 0]]))
    with pytest.raises(ValueError, match='at least 2 classes, one per row of distance'):
        with_unknown_classes(known, [0], 3)
