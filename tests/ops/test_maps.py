"""Maps on a common grid, averages of the pixels that count, energies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.ops.maps import (
    cell_averages,
    energy,
    mean_per_image,
    on_common_grid,
    pooled,
    without_padding,
)


def maps(*size, samples=2, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, channels, *size, generator=generator, dtype=torch.float64)


def random_mask(*size, samples=2):
    return torch.rand(samples, *size, generator=torch.Generator().manual_seed(1)) < 0.6


@pytest.mark.parametrize(
    ('first', 'second', 'grid'),
    [((4, 6), (2, 3), (2, 3)), ((2, 3), (4, 6), (2, 3)), ((4, 3), (2, 6), (2, 3))],
)
def test_the_lesser_height_and_the_lesser_width(first, second, grid):
    one, other, mask = on_common_grid(maps(*first), maps(*second, channels=5))
    assert mask is None
    assert_close(one, F.adaptive_avg_pool2d(maps(*first), grid))
    assert_close(other, F.adaptive_avg_pool2d(maps(*second, channels=5), grid))


def test_maps_of_one_size_are_left_as_they_are():
    one, other = maps(2, 3), maps(2, 3)
    assert on_common_grid(one, other) == (one, other, None)
    mask = random_mask(2, 3)
    first, _, same = on_common_grid(one, other, mask)
    assert same is mask
    assert torch.equal(first, one * mask[:, None])


@pytest.mark.parametrize('filling', [0.0, float('inf'), float('nan')])
def test_cells_average_their_pixels_that_count(filling):
    features, mask = maps(4, 6), random_mask(4, 6)
    mask[0, :2, :2] = False  # a cell without any
    features = features.masked_fill(~mask[:, None], filling)
    found = pooled(features, (2, 3), mask)
    for image in range(2):
        for row in range(2):
            for column in range(3):
                cell = slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)
                inside = features[image][(slice(None), *cell)][:, mask[image][cell]]
                expected = inside.mean(dim=1) if inside.numel() else torch.zeros(3).double()
                assert_close(found[image, :, row, column], expected)


def test_means_of_the_pixels_that_count():
    features, mask = maps(2, 3), random_mask(2, 3)
    mask[1] = False
    assert_close(mean_per_image(features), features.mean(dim=(1, 2, 3)))
    expected = torch.stack([features[0][:, mask[0]].mean(), torch.zeros(()).double()])
    assert_close(mean_per_image(without_padding(features, mask), mask), expected)


def test_energies_have_length_one_or_are_zero():
    features, mask = maps(2, 3), random_mask(2, 3)
    features[1] = 0
    found = energy(features, mask)
    assert found.shape == (2, 1, 2, 3)
    assert_close(found.flatten(1).norm(dim=1), torch.tensor([1.0, 0.0]).double())
    square = features.square().mean(dim=1) * mask
    assert_close(found[0, 0] * square[0].norm(), square[0])


@pytest.mark.parametrize(
    ('size', 'grid'), [((8, 6), (4, 2)), ((7, 5), (4, 2)), ((2, 3), (4, 4)), ((5, 5), (1, 1))]
)
def test_averages_of_the_deterministic_mode_are_those_of_adaptive_pooling(size, grid):
    values = maps(*size).requires_grad_()
    found = []
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        try:
            averages = cell_averages(values, grid)
            (gradient,) = torch.autograd.grad(averages.square().sum(), values)
        finally:
            torch.use_deterministic_algorithms(False)
        found.append((averages.detach(), gradient))
    assert torch.equal(found[0][0], F.adaptive_avg_pool2d(values, grid))
    assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)  # rounding of float64


def test_averages_have_the_gradient_of_their_formula():
    torch.use_deterministic_algorithms(True)
    try:
        values = maps(5, 4, samples=1).requires_grad_()
        assert torch.autograd.gradcheck(lambda one: cell_averages(one, (2, 3)), values)
    finally:
        torch.use_deterministic_algorithms(False)
