"""Moments of feature maps per cell of a grid."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_membership(length: int, grid: int, device: torch.device) -> Tensor:
    """Which positions of an axis belong to which bin of adaptive pooling.

    Bin ``i`` covers ``floor(i L / G)`` to ``ceil((i + 1) L / G)``: neighbours overlap when ``G``
    does not divide ``L``, and bins repeat positions when ``G > L``.

    Returns:
        Bool, shape ``(L, G)``.

    >>> cell_membership(5, 2, torch.device('cpu')).int().t().tolist()
    [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
    """
    position = torch.arange(length, device=device)[:, None]
    index = torch.arange(grid, device=device)
    start = index * length // grid
    stop = ((index + 1) * length + grid - 1) // grid
    return (position >= start) & (position < stop)


def grid_membership(height: int, width: int, grid: int, like: Tensor) -> Tensor:
    """Membership of pixels in the ``grid x grid`` cells, 0 or 1, shape ``(H W, G G)``."""
    rows = cell_membership(height, grid, like.device)
    columns = cell_membership(width, grid, like.device)
    return (rows[:, None, :, None] & columns[None, :, None, :]).to(like).flatten(2).flatten(0, 1)


def cell_mean_and_variance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel over each grid cell.

    Two matrix products with the cells' membership instead of a loop over cells. Every channel is
    first shifted by its own mean over the image, which changes no variance and leaves the
    difference of moments well conditioned.

    Convention:
        A cell of one pixel has variance 0, also with ``unbiased``. Bins are those of adaptive
        pooling, over the whole map; ``mask`` takes pixels out of the cells, it does not move
        the cells.

    Args:
        features: Shape ``(N, C, H, W)``, at least float32.
        grid: Cells along each axis, >= 1.
        unbiased: Divide by ``m - 1`` instead of ``m``.
        mask: Bool, shape ``(N, H, W)`` or ``(1, H, W)``: pixels that count. All by default.

    Returns:
        Mean and variance, each ``(N, C, G * G)``, 0 in cells without pixels, and the number of
        pixels of each cell, ``(N, 1, G * G)`` or ``(1, 1, G * G)``.
    """
    _, _, height, width = features.shape
    flat = features.flatten(2)
    cells = grid_membership(height, width, grid, flat)
    if mask is None:
        inside = None
        count = cells.sum(dim=0)[None, None]
        shift = flat.detach().mean(dim=2, keepdim=True)
        centred = flat - shift
    else:
        inside = mask.flatten(1)[:, None]
        count = inside.to(flat) @ cells
        pixels = inside.sum(dim=2, keepdim=True).clamp(min=1)
        visible = flat.masked_fill(~inside, 0)  # padding may hold anything, also inf
        shift = visible.detach().sum(dim=2, keepdim=True) / pixels
        centred = (visible - shift).masked_fill(~inside, 0)
    divisor = count.clamp(min=1)
    mean = (centred @ cells) / divisor
    squares = (centred.square() @ cells) - divisor * mean.square()
    variance = squares.clamp(min=0) / ((divisor - 1).clamp(min=1) if unbiased else divisor)
    return (mean + shift) * (count > 0), variance, count
