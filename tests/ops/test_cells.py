"""Pixels and moments per grid cell: against a loop over the bins of adaptive pooling."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from random_tensors import random_mask
from wkd_det.ops import cells
from wkd_det.ops.cells import (
    bin_edges,
    cell_mean_and_covariance,
    cell_mean_and_variance,
    cell_membership,
    cell_pixels,
    grid_membership,
)

# Some hundred float64 operations on numbers near 1.
EXACT = dict(rtol=1e-10, atol=1e-11)

SHAPES = [(7, 7), (18, 18), (13, 21), (1, 1), (1, 9), (3, 2)]
GRIDS = [1, 2, 4, 5]


def features(samples=2, channels=3, height=7, width=7, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, channels, height, width)
    return (2 + torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def bin_slices(length, grid):
    """The bins of adaptive pooling, as torch documents them."""
    return [
        slice(math.floor(index * length / grid), math.ceil((index + 1) * length / grid))
        for index in range(grid)
    ]


def naive_moments(maps, grid, *, unbiased=True, mask=None):
    """Pixel by pixel: mean ``(N, C, G G)``, covariance ``(N, G G, C, C)``, count ``(N, G G)``."""
    samples, channels, height, width = maps.shape
    cells = [(r, c) for r in bin_slices(height, grid) for c in bin_slices(width, grid)]
    mean = maps.new_zeros(samples, channels, len(cells))
    covariance = maps.new_zeros(samples, len(cells), channels, channels)
    count = maps.new_zeros(samples, len(cells))
    for sample in range(samples):
        for cell, (rows, columns) in enumerate(cells):
            pixels = maps[sample, :, rows, columns].reshape(channels, -1)
            if mask is not None:
                pixels = pixels[:, mask[sample, rows, columns].reshape(-1)]
            size = pixels.shape[1]
            count[sample, cell] = size
            if size:
                mean[sample, :, cell] = pixels.mean(dim=1)
            if size > 1:
                covariance[sample, cell] = torch.cov(pixels, correction=int(unbiased))
    return mean, covariance, count


# Moments: closed form


def test_four_pixels():
    maps = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64).view(1, 1, 2, 2)
    mean, variance, count = cell_mean_and_variance(maps)
    assert (mean.item(), count.item()) == (3.0, 4.0)
    assert variance.item() == pytest.approx(14 / 3, rel=1e-12)  # float64 rounding
    biased = cell_mean_and_variance(maps, unbiased=False)[1]
    assert biased.item() == pytest.approx(14 / 4, rel=1e-12)


@pytest.mark.parametrize('moments', [cell_mean_and_variance, cell_mean_and_covariance])
@pytest.mark.parametrize('unbiased', [True, False])
def test_cells_of_one_pixel_have_no_variance(moments, unbiased):
    maps = features(height=3, width=3)
    mean, second, count = moments(maps, grid=3, unbiased=unbiased)
    assert_close(mean, maps.flatten(2), **EXACT)
    assert_close(second, torch.zeros_like(second), **EXACT)
    assert (count == 1).all()


# Independent oracle


@pytest.mark.parametrize('length', [1, 2, 5, 18, 21])
@pytest.mark.parametrize('grid', [1, 2, 4, 7, 30])
def test_bins_are_those_of_adaptive_pooling(length, grid):
    membership = cell_membership(length, grid, torch.device('cpu'))
    assert membership.shape == (length, grid)
    signal = torch.rand(1, 1, length, dtype=torch.float64)
    own = (signal[0] @ membership.double()) / membership.sum(dim=0)
    assert_close(own, F.adaptive_avg_pool1d(signal, grid)[0], **EXACT)


def test_bins_of_eighteen_in_four():
    membership = cell_membership(18, 4, torch.device('cpu'))
    edges = [(int(column.nonzero()[0]), int(column.nonzero()[-1]) + 1) for column in membership.t()]
    assert edges == [(0, 5), (4, 9), (9, 14), (13, 18)]
    assert list(zip(*(edge.tolist() for edge in bin_edges(18, 4)))) == edges


def test_grid_membership_is_the_product_of_rows_and_columns():
    membership = grid_membership(5, 4, 2, torch.zeros(1))
    assert membership.shape == (20, 4)
    top_left = membership[:, 0].view(5, 4)
    assert torch.equal(top_left, F.pad(torch.ones(3, 2), (0, 2, 0, 2)))


@pytest.mark.parametrize('unbiased', [True, False])
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('size', SHAPES)
@pytest.mark.parametrize('masked', [False, True])
def test_loop_over_cells(size, grid, unbiased, masked):
    maps = features(2, 3, *size)
    mask = random_mask(2, *size) if masked else None
    expected_mean, expected_covariance, expected_count = naive_moments(
        maps, grid, unbiased=unbiased, mask=mask
    )
    mean, variance, count = cell_mean_and_variance(maps, grid=grid, unbiased=unbiased, mask=mask)
    assert_close(mean, expected_mean, **EXACT)
    expected_variance = expected_covariance.diagonal(dim1=-2, dim2=-1).mT
    assert_close(variance, expected_variance, **EXACT)
    assert_close(count.expand(2, 1, -1)[:, 0], expected_count, **EXACT)
    mean, covariance, count = cell_mean_and_covariance(
        maps, grid=grid, unbiased=unbiased, mask=mask
    )
    assert_close(mean, expected_mean, **EXACT)
    assert_close(covariance, expected_covariance, **EXACT)
    assert_close(count.expand(2, 1, -1)[:, 0], expected_count, **EXACT)


# Convention


@pytest.mark.parametrize('moments', [cell_mean_and_variance, cell_mean_and_covariance])
def test_masked_pixels_may_hold_anything(moments):
    maps = features(2, 3, 6, 6)
    mask = torch.zeros(2, 6, 6, dtype=torch.bool)
    mask[0, :4, :5], mask[1, :, :2] = True, True
    expected = moments(maps, grid=2, mask=mask)
    for filling in (torch.inf, -torch.inf, torch.nan):
        dirty = maps.masked_fill(~mask[:, None], filling).requires_grad_()
        result = moments(dirty, grid=2, mask=mask)
        for one, other in zip(result, expected):
            assert torch.equal(one, other)
        (result[0].sum() + result[1].sum()).backward()
        assert torch.isfinite(dirty.grad).all()
        assert (dirty.grad.masked_select(~mask[:, None]) == 0).all()


@pytest.mark.parametrize('moments', [cell_mean_and_variance, cell_mean_and_covariance])
def test_a_mask_of_ones_changes_nothing_and_one_mask_serves_all_images(moments):
    maps = features(3, 2, 5, 7)
    plain = moments(maps, grid=2)
    ones = torch.ones(3, 5, 7, dtype=torch.bool)
    for mask in (ones, ones[:1]):
        for one, other in zip(moments(maps, grid=2, mask=mask), plain):
            assert_close(one, other.expand_as(one), **EXACT)
    mask = random_mask(1, 5, 7)
    for one, other in zip(
        moments(maps, grid=2, mask=mask), moments(maps, grid=2, mask=mask.expand(3, 5, 7))
    ):
        assert_close(one.expand_as(other), other, **EXACT)


@pytest.mark.parametrize('moments', [cell_mean_and_variance, cell_mean_and_covariance])
def test_empty_cells_have_zero_moments_and_count_zero(moments):
    maps = features(1, 2, 4, 4)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :2, :2] = True
    mean, second, count = moments(maps, grid=2, mask=mask)
    assert count.flatten().tolist() == [4, 0, 0, 0]
    assert (mean[..., 1:] == 0).all()
    per_cell = second if moments is cell_mean_and_covariance else second.transpose(1, 2)
    assert (per_cell[:, 1:] == 0).all()
    for tensor in moments(maps, grid=2, mask=torch.zeros_like(mask)):
        assert (tensor == 0).all()


def test_covariances_are_float64_and_the_rest_keeps_its_type():
    mean, covariance, count = cell_mean_and_covariance(features(dtype=torch.float32))
    assert (mean.dtype, covariance.dtype, count.dtype) == (
        torch.float32,
        torch.float64,
        torch.float32,
    )


# Numerics


@pytest.mark.parametrize('offset', [0.0, 1e3, -1e5])
@pytest.mark.parametrize('masked', [False, True])
def test_a_common_offset_costs_no_precision(offset, masked):
    maps = (features(dtype=torch.float32) + offset).double()  # what float32 still holds of it
    arguments = dict(grid=2, mask=random_mask(2, 7, 7) if masked else None)
    expected = cell_mean_and_variance(maps, **arguments)[1]
    variance = cell_mean_and_variance(maps.float(), **arguments)[1]
    # The mean of the image is off by float32 rounding of the offset, which cancels; what is
    # left is rounding of the deviations.
    assert_close(variance.double(), expected, rtol=2e-5, atol=0)


def test_cells_far_from_the_mean_of_the_image():
    """Squares of deviations from the image's mean cancel: 6e-8 of their ratio to the variance."""
    maps = features(2, 4, 16, 16, dtype=torch.float32)
    maps[..., 8:] += 200  # halves are 100 standard deviations away
    expected = cell_mean_and_variance(maps.double(), grid=4)[1]
    variance = cell_mean_and_variance(maps, grid=4)[1]
    # 100^2 * 6e-8 = 6e-4, a few times.
    assert_close(variance.double(), expected, rtol=1e-2, atol=0)


def test_variances_are_never_negative_however_much_cancels():
    maps = features(2, 4, 16, 16, dtype=torch.float32)
    maps = maps.mean(dim=(2, 3), keepdim=True).expand(2, 4, 16, 16).clone()
    maps[..., 8:] += 1e4  # constant within every cell, far from the mean of the image
    variance = cell_mean_and_variance(maps, grid=4)[1]
    assert (variance >= 0).all()
    # (5e3)^2 times float32 rounding of the sums, 6e-8 and a few times that.
    assert variance.max() <= 20


def test_constant_maps_have_no_variance_and_no_gradient_of_it():
    maps = torch.full((2, 3, 5, 5), 7.3, requires_grad=True)
    _, variance, _ = cell_mean_and_variance(maps, grid=2)
    variance.sum().backward()
    # Rounding of 7.3 in float32 is 5e-7, its square nothing.
    assert variance.max() <= 1e-10
    assert maps.grad.abs().max() <= 1e-5


# Gradients


@pytest.mark.parametrize('elements', [0, 2 * 3 * 7 * 7])
@pytest.mark.parametrize('masks', [0, 1, 5])
def test_blocks_of_images_change_nothing(elements, masks, monkeypatch):
    maps, mask = features(5), random_mask(masks, 7, 7) if masks else None
    weights = torch.linspace(-1, 1, 2 * 5 * 3 * 4, dtype=torch.float64).view(2, 5, 3, 4)
    results = []
    for limit in (2**30, elements):
        monkeypatch.setattr(cells, '_BLOCK_ELEMENTS', limit)
        leaf = maps.clone().requires_grad_()
        moments = torch.stack(cell_mean_and_variance(leaf, grid=2, mask=mask)[:2])
        results.append((moments, *torch.autograd.grad((moments * weights).sum(), leaf)))
    for one, other in zip(*results):
        assert_close(one, other, **EXACT)


def test_the_graph_keeps_no_copy_of_the_features():
    maps = features(2, 3, 20, 20).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        cell_mean_and_variance(maps, grid=2)
    large = [tensor for tensor in kept if tensor.numel() >= maps.numel()]
    assert [tensor.data_ptr() for tensor in large] == [maps.data_ptr()]


@pytest.mark.parametrize('moments', [cell_mean_and_variance, cell_mean_and_covariance])
@pytest.mark.parametrize('grid', [1, 3])
@pytest.mark.parametrize('masked', [False, True])
def test_gradcheck(moments, grid, masked):
    maps = features(2, 2, 4, 2).requires_grad_()
    mask = random_mask(2, 4, 2) if masked else None
    assert torch.autograd.gradcheck(lambda x: moments(x, grid=grid, mask=mask)[:2], (maps,))


def test_the_gradient_of_a_variance_of_one_pixel_is_exactly_nothing():
    """However steep what is made of it: a divergence of nearly constant features is."""
    maps = features(height=3, width=3, dtype=torch.float32).requires_grad_()
    _, variance, _ = cell_mean_and_variance(maps, grid=3)
    (1e6 * variance).sum().backward()
    assert (maps.grad == 0).all()


# Strips: the maps are read once, as on an accelerator


@pytest.fixture
def by_strips(monkeypatch):
    monkeypatch.setattr(cells, '_reads_once', lambda maps: True)


def value_and_gradient(maps, grid, unbiased=True):
    leaf = maps.clone().requires_grad_()
    moments = torch.stack(cell_mean_and_variance(leaf, grid=grid, unbiased=unbiased)[:2])
    weights = torch.linspace(-1, 2, moments.numel(), dtype=maps.dtype).view_as(moments)
    return moments.detach(), torch.autograd.grad((moments * weights).sum(), leaf)[0]


@pytest.mark.parametrize('size', SHAPES)
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('unbiased', [True, False])
def test_strips_have_the_moments_and_gradients_of_pixels(monkeypatch, size, grid, unbiased):
    maps = features(2, 3, *size)
    expected = value_and_gradient(maps, grid, unbiased)
    monkeypatch.setattr(cells, '_reads_once', lambda maps: True)
    for one, other in zip(value_and_gradient(maps, grid, unbiased), expected):
        assert_close(one, other, **EXACT)


@pytest.mark.usefixtures('by_strips')
@pytest.mark.parametrize('grid', [1, 3])
def test_gradcheck_by_strips(grid):
    maps = features(2, 2, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cell_mean_and_variance(x, grid=grid)[:2], (maps,))


def test_strips_lie_between_the_edges_of_the_bins_and_are_kept():
    given = (18, 4, 4, torch.device('cpu'), torch.float32)
    strips = cells._strips(*given)
    assert strips.rows == ((0, 4), (4, 5), (5, 9), (9, 13), (13, 14), (14, 18))
    assert strips.count.flatten().tolist() == [5.0] * 16
    assert cells._strips(*given) is strips


@pytest.mark.usefixtures('by_strips')
@pytest.mark.parametrize('offset', [0.0, 1e3])
def test_strips_round_their_means(offset):
    maps = (features(2, 3, 16, 16, dtype=torch.float32) + offset).double()
    expected = cell_mean_and_variance(maps, grid=2)[1]
    variance = cell_mean_and_variance(maps.float(), grid=2)[1]
    # 6e-8 times the ratio of mean and deviation, a few times.
    assert_close(variance.double(), expected, rtol=1e-5 + 1e-6 * offset, atol=0)


@pytest.mark.usefixtures('by_strips')
def test_strips_that_were_made_under_inference_mode_train():
    cells._strips.cache_clear()
    maps = features()
    with torch.inference_mode():
        cell_mean_and_variance(maps, grid=2)
    moments, gradient = value_and_gradient(maps, 2)
    assert gradient.abs().max() > 1e-3


# Properties


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    grid=st.integers(1, 12),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    unbiased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape(shape, grid, share, unbiased, seed):
    maps = features(*shape, seed=seed)
    mask = None if share is None else random_mask(shape[0], *shape[2:], seed=seed, share=share)
    expected_mean, expected_covariance, expected_count = naive_moments(
        maps, grid, unbiased=unbiased, mask=mask
    )
    mean, variance, count = cell_mean_and_variance(maps, grid=grid, unbiased=unbiased, mask=mask)
    assert_close(mean, expected_mean, **EXACT)
    assert_close(variance, expected_covariance.diagonal(dim1=-2, dim2=-1).mT, **EXACT)
    assert_close(count.expand(shape[0], 1, -1)[:, 0], expected_count, **EXACT)


# Pixels


def standard(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def test_cells_are_slices():
    maps = standard(2, 3, 4, 6)
    pixels, inside = cell_pixels(maps, grid=2)
    assert pixels.shape == (2, 4, 3, 6)
    assert inside.shape == (1, 4, 1, 6)
    assert inside.all()
    assert torch.equal(pixels[:, 1], maps[:, :, :2, 3:].flatten(2))
    assert torch.equal(pixels[:, 2], maps[:, :, 2:, :3].flatten(2))


@pytest.mark.parametrize('grid', [1, 2, 3, 4, 7, 9])
def test_cells_are_those_of_adaptive_pooling(grid):
    maps = standard(2, 3, 5, 8)
    pixels, inside = cell_pixels(maps, grid=grid)
    mean = pixels.sum(dim=3) / inside.sum(dim=3)
    expected = F.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)
    assert_close(mean, expected, rtol=1e-12, atol=1e-12)


def test_masked_pixels_are_outside_and_zero():
    maps = standard(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 0, 1] = mask[1, 3, 3] = True
    pixels, inside = cell_pixels(maps.masked_fill(~mask[:, None], torch.nan), grid=2, mask=mask)
    assert inside.sum(dim=(2, 3)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert torch.equal(pixels.sum(dim=3)[0, 0], maps[0, :, 0, 1])
    assert torch.equal(pixels.sum(dim=3)[1, 3], maps[1, :, 3, 3])
    assert (pixels.masked_select(~inside) == 0).all()
