"""Cells of a grid over a feature map: their pixels, and mean, variance and covariance of each.

The cells are the bins of adaptive pooling; :func:`bin_edges` is the one place that says where they
lie.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import equal_parts, without_autocast

_BLOCK_ELEMENTS = 2**18  # in a block of images that is centred and squared: 1 MiB in float32
_BLOCK_ELEMENTS_OF_ACCELERATORS = 2**24  # 64 MiB: there, few launches count


def bin_edges(length: int, grid: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return first positions and ends of the bins of adaptive pooling along an axis.

    Bin ``i`` covers ``floor(i L / G)`` to ``ceil((i + 1) L / G)``: neighbours overlap when ``G``
    does not divide ``L``, and bins repeat positions when ``G > L``.

    Returns:
        Starts and stops (exclusive), each int64, shape ``(G,)``.

    >>> [edges.tolist() for edges in bin_edges(5, 2)]
    [[0, 2], [3, 5]]
    """
    index = torch.arange(grid, device=device)
    return index * length // grid, ((index + 1) * length + grid - 1) // grid


def cell_membership(length: int, grid: int, device: torch.device) -> Tensor:
    """Return which positions of an axis belong to which bin of adaptive pooling.

    Returns:
        Bool, shape ``(L, G)``.

    >>> cell_membership(5, 2, torch.device('cpu')).int().t().tolist()
    [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
    """
    position = torch.arange(length, device=device)[:, None]
    start, stop = bin_edges(length, grid, device)
    return (position >= start) & (position < stop)


def grid_membership(height: int, width: int, grid: int, like: Tensor) -> Tensor:
    """Membership of pixels in the ``grid x grid`` cells, 0 or 1, shape ``(H W, G G)``."""
    rows = cell_membership(height, grid, like.device)
    columns = cell_membership(width, grid, like.device)
    return (rows[:, None, :, None] & columns[None, :, None, :]).to(like).flatten(2).flatten(0, 1)


def cell_pixels(
    features: Tensor, *, grid: int = 1, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gather the feature vectors of every grid cell, without a loop over cells.

    Cells may overlap and differ in size, so smaller ones are filled up.

    Args:
        features: Shape ``(N, C, H, W)``.
        grid: Cells along each axis, >= 1.
        mask: Bool, shape ``(N, H, W)``: pixels that count. All by default.

    Returns:
        Pixels ``(N, G * G, C, M)`` with ``M`` the size of the largest cell, 0 where a cell has
        no pixel; and which entries are pixels, bool, ``(N, G * G, 1, M)`` or
        ``(1, G * G, 1, M)``.

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
    rows, has_row = _bin_positions(height, grid)
    columns, has_column = _bin_positions(width, grid)
    index = (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(2).flatten(0, 1)
    inside = (has_row[:, None, :, None] & has_column[None, :, None, :]).flatten(2).flatten(0, 1)
    index, inside = index.to(features.device), inside.to(features.device)[None]
    if mask is not None:
        inside = inside & mask.flatten(1)[:, index]
    inside = inside[:, :, None]
    pixels = features.flatten(2)[:, :, index].transpose(1, 2)
    return pixels.masked_fill(~inside, 0), inside


def _bin_positions(length: int, grid: int) -> tuple[Tensor, Tensor]:
    """Positions of each bin and whether they are its own, both ``(G, size of the largest)``."""
    start, stop = (edges[:, None] for edges in bin_edges(length, grid))
    position = start + torch.arange(int((stop - start).max()))
    return position.clamp(max=length - 1), position < stop


def cell_mean_and_variance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel over each grid cell.

    Two matrix products with the cells' membership instead of a loop over cells. Every channel is
    first shifted by its own mean over the image, which changes no variance and leaves the
    difference of moments well conditioned. Images are walked in blocks, forward and backward, so
    that there is no second copy of the features besides their gradient. Differentiable once.

    Convention:
        A cell of one pixel has variance 0, also with ``unbiased``. The grid covers the whole
        map: ``mask`` takes pixels out of the cells, it does not move the cells.

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
    inside = None if mask is None else mask.flatten(1)[:, None]
    count = (cells.sum(dim=0)[None, None]) if inside is None else inside.to(flat) @ cells
    divisor = ((count - 1) if unbiased else count).clamp(min=1)
    mean, variance = _Moments.apply(flat, cells, inside, count, divisor)
    return mean, variance, count


def cell_mean_and_covariance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean vector and covariance matrix of the pixels of each grid cell.

    Conventions, arguments and the count are those of :func:`cell_mean_and_variance`.

    Numerics:
        Covariances are made in float64: with fewer pixels than channels they are singular, and
        float32 rounding of the large eigenvalues would bury the ``eps`` on the zero ones.

    Returns:
        Mean ``(N, C, G * G)``, covariance ``(N, G * G, C, C)`` in float64, count
        ``(N, 1, G * G)`` or ``(1, 1, G * G)``.
    """
    pixels, inside = cell_pixels(features, grid=grid, mask=mask)
    pixels = pixels.double()
    count = inside.sum(dim=3, keepdim=True)
    mean = pixels.sum(dim=3, keepdim=True) / count.clamp(min=1)
    centred = (pixels - mean).masked_fill(~inside, 0)
    divisor = (count - 1 if unbiased else count).clamp(min=1)
    covariance = centred @ centred.mT / divisor
    mean, count = mean[..., 0].transpose(1, 2), count[..., 0].transpose(1, 2)
    return mean.to(features), covariance, count.to(features)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        flat: Tensor,
        cells: Tensor,
        inside: Tensor | None,
        count: Tensor,
        divisor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        shape = (*flat.shape[:2], cells.shape[1])
        deviation, squares, mean = (flat.new_empty(shape) for _ in range(3))
        size = count.clamp(min=1)
        for rows in _blocks(flat):
            centred, shift = _centred(flat, inside, rows)
            torch.div(_cell_sums(centred, cells), _rows_of(size, rows), out=deviation[rows])
            squares[rows] = _cell_sums(centred.square_(), cells)
            torch.add(deviation[rows], shift, out=mean[rows])
        squares -= size * deviation.square()
        ctx.save_for_backward(flat, cells, inside, size, divisor, deviation, squares >= 0)
        return mean * (count > 0), squares.clamp_(min=0) / divisor

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, grad_mean: Tensor, grad_variance: Tensor
    ) -> tuple[Tensor | None, ...]:
        flat, cells, inside, size, divisor, deviation, kept = ctx.saved_tensors
        # Each pixel of a cell moves its mean by 1 / m and its variance by 2 (x - mean) / divisor;
        # an empty cell has no pixel, so its share below reaches nobody.
        slope = grad_variance * kept * (2 / divisor)
        offset = grad_mean / size - slope * deviation
        grad = torch.empty_like(flat)
        with without_autocast(grad):  # backward() may be called inside an autocast block
            for rows in _blocks(flat):
                centred, _ = _centred(flat, inside, rows)
                centred *= slope[rows] @ cells.t()
                torch.add(centred, offset[rows] @ cells.t(), out=grad[rows])
                if inside is not None:
                    grad[rows].masked_fill_(~_rows_of(inside, rows), 0)
        return grad, None, None, None, None


def _centred(flat: Tensor, inside: Tensor | None, rows: slice) -> tuple[Tensor, Tensor]:
    """Return features of some images less the mean of each channel and image, and that mean."""
    flat = flat[rows]
    if inside is None:
        shift = flat.mean(dim=2, keepdim=True)
        return flat - shift, shift
    inside = _rows_of(inside, rows)
    visible = flat.masked_fill(~inside, 0)  # padding may hold anything, also inf
    shift = visible.sum(dim=2, keepdim=True) / inside.sum(dim=2, keepdim=True).clamp(min=1)
    return visible.sub_(shift).masked_fill_(~inside, 0), shift


def _cell_sums(pixels: Tensor, cells: Tensor) -> Tensor:
    """``pixels @ cells``, transposed: BLAS is up to four times as fast with the few cells first."""
    return torch.mm(cells.t(), pixels.flatten(0, 1).t()).t().unflatten(0, pixels.shape[:2])


def _rows_of(tensor: Tensor, rows: slice) -> Tensor:
    """Return the rows of some images, or the one row that all images share."""
    return tensor if tensor.shape[0] == 1 else tensor[rows]


def _blocks(flat: Tensor) -> list[slice]:
    on_cpu = flat.device.type == 'cpu'
    elements = _BLOCK_ELEMENTS if on_cpu else _BLOCK_ELEMENTS_OF_ACCELERATORS
    return equal_parts(flat.shape[0], elements // max(flat.shape[1:].numel(), 1))
