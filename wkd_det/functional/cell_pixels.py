"""The pixels of each cell of a grid, side by side."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_pixels(
    features: Tensor, *, grid: int = 1, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gather the feature vectors of every grid cell, without a loop over cells.

    Cells are those of :func:`~wkd_det.functional.cell_moments.cell_mean_and_variance`. They may
    overlap and differ in size, so smaller ones are filled up.

    Args:
        features: Shape ``(N, C, H, W)``.
        grid: Cells along each axis, >= 1.
        mask: Bool, shape ``(N, H, W)``: pixels that count. All by default.

    Returns:
        Pixels ``(N, G * G, C, M)`` with ``M`` the size of the largest cell, 0 where a cell has
        no pixel; and whether it has, bool, ``(N, G * G, 1, M)`` or ``(1, G * G, 1, M)``.

    >>> pixels, inside = cell_pixels(torch.arange(3.0).view(1, 1, 1, 3), grid=2)
    >>> pixels[0, :, 0].tolist()  # two rows of cells that repeat the only row of the map
    [[0.0, 1.0], [1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]
    """
    height, width = features.shape[-2:]
    if grid == 1:  # nothing to gather
        pixels = features.flatten(2)[:, None]
        if mask is None:
            return pixels, pixels.new_ones(1, 1, 1, height * width, dtype=torch.bool)
        inside = mask.flatten(1)[:, None, None]
        return pixels.masked_fill(~inside, 0), inside
    rows, has_row = _bins(height, grid)
    columns, has_column = _bins(width, grid)
    index = (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(2).flatten(0, 1)
    inside = (has_row[:, None, :, None] & has_column[None, :, None, :]).flatten(2).flatten(0, 1)
    index, inside = index.to(features.device), inside.to(features.device)[None]
    if mask is not None:
        inside = inside & mask.flatten(1)[:, index]
    inside = inside[:, :, None]
    pixels = features.flatten(2)[:, :, index].transpose(1, 2)
    return pixels.masked_fill(~inside, 0), inside


def _bins(length: int, grid: int) -> tuple[Tensor, Tensor]:
    """Positions of each bin of adaptive pooling and whether they are its own, ``(G, largest)``."""
    bins = [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]
    offset = torch.arange(max(stop - start for start, stop in bins))
    start, stop = torch.tensor(bins).t()[:, :, None]
    position = start + offset
    return position.clamp(max=length - 1), position < stop
