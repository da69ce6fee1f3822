"""Pixels of grid cells: slices, adaptive pooling, masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.ops.cells import cell_pixels


def features(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def test_cells_are_slices():
    maps = features(2, 3, 4, 6)
    pixels, inside = cell_pixels(maps, grid=2)
    assert pixels.shape == (2, 4, 3, 6)
    assert inside.shape == (1, 4, 1, 6)
    assert inside.all()
    assert torch.equal(pixels[:, 1], maps[:, :, :2, 3:].flatten(2))
    assert torch.equal(pixels[:, 2], maps[:, :, 2:, :3].flatten(2))


@pytest.mark.parametrize('grid', [1, 2, 3, 4, 7, 9])
def test_cells_are_those_of_adaptive_pooling(grid):
    maps = features(2, 3, 5, 8)
    pixels, inside = cell_pixels(maps, grid=grid)
    mean = pixels.sum(dim=3) / inside.sum(dim=3)
    expected = F.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)
    assert_close(mean, expected, rtol=1e-12, atol=1e-12)


def test_masked_pixels_are_outside_and_zero():
    maps = features(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 0, 1] = mask[1, 3, 3] = True
    pixels, inside = cell_pixels(maps.masked_fill(~mask[:, None], torch.nan), grid=2, mask=mask)
    assert inside.sum(dim=(2, 3)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert torch.equal(pixels.sum(dim=3)[0, 0], maps[0, :, 0, 1])
    assert torch.equal(pixels.sum(dim=3)[1, 3], maps[1, :, 3, 3])
    assert (pixels.masked_select(~inside) == 0).all()
