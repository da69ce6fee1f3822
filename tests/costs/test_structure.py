"""Figures about a matrix of class costs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import torch

from wkd_det.costs.structure import (
    additive_effect,
    effective_rank,
    grouping_agreement,
    matrix_correlation,
    nearest_classes,
    off_diagonal_spread,
    structure_report,
)

# Matrices that the reference repository ships; they lie beside the checkout, not in it.
OFFICIAL = Path(__file__).parents[3] / 'shared' / 'data' / 'official_cost'

EXACT = 1e-10  # float64 throughout, sums of some hundred terms


def random_cost(classes=9, dims=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(classes, dims, generator=generator, dtype=torch.float64)
    return torch.cdist(points, points)


def constant_cost(classes, value=0.1):
    return torch.full((classes, classes), value).fill_diagonal_(0)


def clustered_cost(sizes, dims=8, seed=0):
    """Tight clusters of classes, and the cluster of each class."""
    generator = torch.Generator().manual_seed(seed)
    groups = [f'group {number}' for number, size in enumerate(sizes) for _ in range(size)]
    centres = torch.randn(len(sizes), dims, generator=generator).repeat_interleave(
        torch.tensor(sizes), dim=0
    )
    points = centres + 0.01 * torch.randn(len(groups), dims, generator=generator)
    return torch.cdist(points, points), groups


def off_diagonal(matrix):
    return matrix.numpy()[np.triu_indices(len(matrix), 1)]


# Spread


def test_spread_equals_numpy_and_ignores_the_diagonal():
    cost = random_cost()
    entries = off_diagonal(cost)
    expected = dict(min=entries.min(), max=entries.max(), mean=entries.mean(), std=entries.std())
    assert off_diagonal_spread(cost) == pytest.approx(expected, abs=EXACT)
    assert off_diagonal_spread(cost.fill_diagonal_(-7)) == pytest.approx(expected, abs=EXACT)


def test_spread_of_a_constant_is_exactly_zero():
    value = torch.tensor(0.1).item()
    result = off_diagonal_spread(constant_cost(50))
    assert result == dict(min=value, max=value, mean=value, std=0.0)


# Additive effect


def test_additive_effect_of_a_sum_is_everything():
    effect = torch.linspace(-1, 2, 7, dtype=torch.float64)
    result = additive_effect(effect[:, None] + effect)
    assert result['share'] == pytest.approx(1, abs=EXACT)
    assert result['per_class'] == pytest.approx(effect.tolist(), abs=EXACT)


def test_additive_effect_equals_least_squares():
    cost = random_cost(8)
    rows, columns = np.triu_indices(8, 1)
    design = np.zeros((len(rows), 8))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), columns] = 1
    entries = off_diagonal(cost)
    solution = np.linalg.lstsq(design, entries, rcond=None)[0]
    left = ((entries - design @ solution) ** 2).sum()
    share = 1 - left / ((entries - entries.mean()) ** 2).sum()
    result = additive_effect(cost)
    assert result['share'] == pytest.approx(share, abs=EXACT)
    assert result['per_class'] == pytest.approx(solution.tolist(), abs=EXACT)
    other = additive_effect(cost.fill_diagonal_(-7))['per_class']
    assert other == pytest.approx(solution.tolist(), abs=EXACT)


def test_additive_effect_of_noise_is_chance():
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(200):
        noise = torch.randn(12, 12, generator=generator)
        result = additive_effect(noise + noise.mT)
        shares.append(result['share'])
    assert result['chance'] == 11 / 65
    # The standard deviation of one share is about 0.06, that of the mean 0.004.
    assert np.mean(shares) == pytest.approx(11 / 65, abs=0.015)


def test_additive_effect_that_does_not_exist():
    assert additive_effect(constant_cost(5))['share'] is None
    assert additive_effect(random_cost(3)) == dict(share=None, chance=None, per_class=None)


# Effective rank


def test_effective_rank_of_equal_distances_is_the_largest():
    result = effective_rank(constant_cost(6))
    assert result['value'] == pytest.approx(5, abs=1e-6)  # float32 entries
    assert result['maximum'] == 5


def test_effective_rank_of_classes_on_a_line_is_one():
    position = torch.tensor([0.0, 1.0, 5.0, 6.0, 9.0], dtype=torch.float64)
    squared = (position[:, None] - position).square()
    # The other eigenvalues are rounding, 1e-16 of the largest; x log x makes 4e-15 of each.
    assert effective_rank(squared)['value'] == pytest.approx(1, abs=1e-12)


def test_effective_rank_equals_the_entropy_of_scipy():
    cost = random_cost()
    centring = np.eye(9) - 1 / 9
    spectrum = np.linalg.svd(centring @ cost.numpy() @ centring, compute_uv=False)
    expected = np.exp(scipy.stats.entropy(spectrum))
    assert effective_rank(cost)['value'] == pytest.approx(expected, abs=1e-8)
    assert effective_rank(3 * cost)['value'] == pytest.approx(expected, abs=1e-8)
    assert effective_rank(cost.fill_diagonal_(-7))['value'] == pytest.approx(expected, abs=1e-8)


def test_effective_rank_of_clusters_is_about_their_number():
    cost, _ = clustered_cost([5, 5, 5, 5])
    # Four equal clusters span three directions, not equally; the rest is noise of 1 %.
    assert 2 < effective_rank(cost.square())['value'] < 3.5


def test_effective_rank_that_does_not_exist():
    assert effective_rank(torch.zeros(3, 3)) == dict(value=None, maximum=2)


# Neighbours


def test_nearest_classes_equal_a_search_tree():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    found = scipy.spatial.KDTree(points.numpy()).query(points.numpy(), k=5)[1]
    cost = torch.cdist(points, points)
    assert nearest_classes(cost, num_neighbors=4) == found[:, 1:].tolist()
    # The own class never counts, whatever the diagonal says.
    assert nearest_classes(cost.fill_diagonal_(9), num_neighbors=4) == found[:, 1:].tolist()


def test_ties_go_by_index():
    assert nearest_classes(constant_cost(4), num_neighbors=2) == [[1, 2], [0, 2], [0, 1], [0, 1]]


@pytest.mark.parametrize('number', [0, 5, 2.0])
def test_number_of_neighbors_is_checked(number):
    message = rf'num_neighbors must be an integer in \[1, 4\], got {number}'
    with pytest.raises(ValueError, match=message):
        nearest_classes(random_cost(5), num_neighbors=number)
    with pytest.raises(ValueError, match=message):
        grouping_agreement(random_cost(5), [0, 0, 1, 1, 1], num_neighbors=number)


# Grouping


def test_clusters_agree_completely():
    cost, groups = clustered_cost([4, 4, 4])
    result = grouping_agreement(cost, groups, num_neighbors=3)
    assert result['agreement'] == 1
    assert result['chance'] == pytest.approx(3 / 11, abs=EXACT)
    # A cluster has three other classes, the fourth place goes elsewhere.
    assert grouping_agreement(cost, groups, num_neighbors=4)['agreement'] == 3 / 4


def test_agreement_equals_counting():
    cost = random_cost(12)
    groups = torch.tensor([0, 1, 2] * 4)
    near = nearest_classes(cost, num_neighbors=5)
    same = [np.mean([groups[j] == groups[i] for j in near[i]]) for i in range(12)]
    result = grouping_agreement(cost, groups, num_neighbors=5)
    assert result['agreement'] == pytest.approx(np.mean(same), abs=EXACT)
    for entry in result['per_group']:
        expected = np.mean([same[i] for i in range(12) if groups[i] == entry['group']])
        assert entry['agreement'] == pytest.approx(expected, abs=EXACT)
        assert entry['size'] == 4
        assert entry['chance'] == 3 / 11
    assert [entry['group'] for entry in result['per_group']] == [0, 1, 2]


@pytest.mark.parametrize('number', [1, 3, 8])
def test_constant_cost_scores_chance(number):
    groups = ['a'] * 5 + ['b'] * 3 + ['c']
    result = grouping_agreement(constant_cost(9), groups, num_neighbors=number)
    assert result['agreement'] == pytest.approx(result['chance'], abs=EXACT)
    # What is left of the spread comes from the class alone, which relabelling moves about.
    assert result['chance_std'] < 1e-12


def test_single_classes_are_left_out_but_stay_neighbors():
    position = torch.tensor([0.0, 1.0, 1.1, 5.0, 6.0])
    cost = (position[:, None] - position).abs()
    result = grouping_agreement(cost, ['a', 'a', 'background', 'b', 'b'], num_neighbors=1)
    # 0 -> 1 agrees, 1 -> background does not, 3 <-> 4 agree; background is not counted.
    assert result['agreement'] == 3 / 4
    assert result['chance'] == 1 / 4
    assert [entry['group'] for entry in result['per_group']] == ['a', 'b']


@pytest.mark.parametrize(
    'groups', [[0, 1, 2, 3] * 5, [0] * 8 + list(range(1, 13))], ids=['fours', 'with single ones']
)
def test_chance_and_its_spread_are_those_of_random_groups(groups):
    cost = random_cost(20, dims=8)
    generator = torch.Generator().manual_seed(3)
    groups = torch.tensor(groups)
    results = [
        grouping_agreement(
            cost,
            groups[torch.randperm(20, generator=generator)],
            num_neighbors=3,
            num_permutations=2,
        )['agreement']
        for _ in range(400)
    ]
    expected = grouping_agreement(cost, groups, num_neighbors=3, num_permutations=400)
    # Standard errors of 400 draws: std / 20 of the mean, std / 28 of the deviation; 4 of each.
    std = expected['chance_std']
    assert np.mean(results) == pytest.approx(expected['chance'], abs=4 * std / 20)
    assert np.std(results) == pytest.approx(std, abs=4 * std * math.sqrt(2) / 28)


def test_permutations_are_seeded_and_leave_the_global_generator_alone():
    cost, groups = random_cost(10), [0, 1] * 5
    state = torch.get_rng_state()
    first = grouping_agreement(cost, groups, num_neighbors=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert grouping_agreement(cost, groups, num_neighbors=2) == first
    other = grouping_agreement(cost, groups, num_neighbors=2, seed=1)
    assert other['chance_std'] != first['chance_std']
    assert other['agreement'] == first['agreement']


@pytest.mark.parametrize(
    ('groups', 'options', 'message'),
    [
        ([0, 0, 1], {}, r'one group per class \(4\), got 3'),
        ([0, 1, 2, 3], {}, 'at least two classes together, got only single ones'),
        ([0, 0, 1, 1], dict(num_permutations=1), 'num_permutations must be at least 2, got 1'),
    ],
)
def test_grouping_refuses(groups, options, message):
    with pytest.raises(ValueError, match=message):
        grouping_agreement(random_cost(4), groups, num_neighbors=2, **options)


# Correlation


def test_correlation_equals_scipy():
    first, second = random_cost(seed=0), random_cost(seed=1).float()
    one, other = off_diagonal(first), off_diagonal(second)
    result = matrix_correlation(first, second)
    assert result['pearson'] == pytest.approx(scipy.stats.pearsonr(one, other)[0], abs=EXACT)
    assert result['spearman'] == pytest.approx(scipy.stats.spearmanr(one, other)[0], abs=EXACT)


def test_pairwise_correlation_is_blind_to_effects_of_single_classes():
    first, second = random_cost(seed=0), random_cost(seed=1)
    rows, columns = np.triu_indices(9, 1)
    design = np.eye(9)[rows] + np.eye(9)[columns]
    left = [
        entries - design @ np.linalg.lstsq(design, entries, rcond=None)[0]
        for entries in (off_diagonal(first), off_diagonal(second))
    ]
    expected = scipy.stats.pearsonr(*left)[0]
    result = matrix_correlation(first, second)
    assert result['pairwise'] == pytest.approx(expected, abs=EXACT)
    effect = torch.linspace(-5, 40, 9, dtype=torch.float64)
    far = effect[:, None] + effect
    moved = matrix_correlation(first + far, second + far)
    assert moved['pearson'] > 0.99
    assert moved['pairwise'] == pytest.approx(expected, abs=EXACT)
    # Effects alone leave nothing to correlate, nor do three classes.
    assert matrix_correlation(first, far)['pairwise'] is None
    assert matrix_correlation(first[:3, :3], second[:3, :3])['pairwise'] is None


def test_correlation_with_ties_equals_scipy():
    first = (random_cost(seed=0) * 2).round()
    second = (random_cost(seed=1) * 2).round()
    expected = scipy.stats.spearmanr(off_diagonal(first), off_diagonal(second))[0]
    assert matrix_correlation(first, second)['spearman'] == pytest.approx(expected, abs=EXACT)


def test_correlation_convention():
    cost = random_cost()
    same = matrix_correlation(cost, 3 * cost.clone().fill_diagonal_(-7))
    assert same == pytest.approx(dict(pearson=1, spearman=1, pairwise=1), abs=EXACT)
    assert matrix_correlation(cost, cost.exp())['spearman'] == pytest.approx(1, abs=EXACT)
    opposite = matrix_correlation(cost, 1 - cost)
    assert opposite == pytest.approx(dict(pearson=-1, spearman=-1, pairwise=-1), abs=EXACT)
    nothing = dict(pearson=None, spearman=None, pairwise=None)
    assert matrix_correlation(cost, constant_cost(9)) == nothing


def test_correlation_refuses_other_classes():
    with pytest.raises(ValueError, match=r'got shapes \(9, 9\) and \(5, 5\)'):
        matrix_correlation(random_cost(9), random_cost(5))


# Report


def test_report_holds_all_figures_and_is_json():
    cost, groups = clustered_cost([3, 3, 2])
    reference = random_cost(8)
    report = structure_report(cost, num_neighbors=2, groups=groups, reference=reference)
    assert report == dict(
        num_classes=8,
        off_diagonal=off_diagonal_spread(cost),
        additive_effect=additive_effect(cost),
        effective_rank=effective_rank(cost),
        nearest_classes=dict(num_neighbors=2, indices=nearest_classes(cost, num_neighbors=2)),
        grouping=grouping_agreement(cost, groups, num_neighbors=2),
        correlation=matrix_correlation(cost, reference),
    )
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert 'grouping' not in structure_report(cost)


@pytest.mark.parametrize('classes', [2, 3, 4])
@pytest.mark.parametrize('value', [0.0, 0.1])
def test_report_of_little_is_still_json(classes, value):
    report = structure_report(
        constant_cost(classes, value), groups=[0] * classes, reference=random_cost(classes)
    )
    assert report['nearest_classes']['num_neighbors'] == classes - 1
    assert report['grouping']['agreement'] == pytest.approx(1, abs=EXACT)
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    'function',
    [
        structure_report,
        off_diagonal_spread,
        additive_effect,
        effective_rank,
        lambda cost: nearest_classes(cost, num_neighbors=1),
        lambda cost: grouping_agreement(cost, [0, 0, 0], num_neighbors=1),
        lambda cost: matrix_correlation(random_cost(3), cost),
    ],
)
def test_every_figure_refuses_bad_matrices(function):
    broken = random_cost(3)
    broken[0, 2] = float('nan')
    with pytest.raises(ValueError, match=r'must be finite, got nan at \(0, 2\)'):
        function(broken)
    skew = constant_cost(3)
    skew[1, 0] = 0.5
    with pytest.raises(ValueError, match=r'must be symmetric, .* at \(0, 1\) but 0.5 at \(1, 0\)'):
        function(skew)


# The released matrices


def load_official(name):
    return torch.load(OFFICIAL / f'{name}_linear_cka.pth', map_location='cpu', weights_only=True)


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f'needs the reference matrices in {OFFICIAL}')
@pytest.mark.parametrize(
    ('name', 'share_of_dogs'),
    [('imagenet_resnet34_logit', 0.0254), ('imagenet_resnet50_logit', 0.0492)],
)
def test_released_imagenet_matrices_are_nearly_constant(name, share_of_dogs):
    cost = -torch.expm1(-load_official(name))  # sharpness 1
    # The facts of the paper notes, to their printed digits: 0.611 to 0.628 (0.629 for ResNet-50),
    # 2.5 % and 4.9 % of the five nearest of a dog are dogs, chance 11.7 %.
    spread = off_diagonal_spread(cost)
    assert 0.611 < spread['min'] < spread['max'] < 0.629
    groups = ['dog' if 151 <= index <= 268 else 'other' for index in range(1000)]
    result = grouping_agreement(cost, groups, num_neighbors=5, num_permutations=2)
    dogs = result['per_group'][1]
    assert (dogs['group'], dogs['size']) == ('dog', 118)
    assert dogs['agreement'] == pytest.approx(share_of_dogs, abs=5e-5)
    assert dogs['chance'] == pytest.approx(0.117, abs=5e-4)
    assert additive_effect(cost)['share'] > 0.8
