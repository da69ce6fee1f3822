"""Cells of a grid over a feature map: their pixels, and mean, variance and covariance of each.

The cells are the bins of adaptive pooling; :func:`bin_edges` is the one place that says where they
lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import equal_parts, promote, without_autocast
from wkd_det.ops.fused.switch import takes_fused

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


def _bins(length: int, grid: int) -> list[tuple[int, int]]:
    """Return what :func:`bin_edges` does in numbers that no device has to be asked for."""
    return [(index * length // grid, -(-(index + 1) * length // grid)) for index in range(grid)]


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
    return _membership(rows, cell_membership(width, grid, like.device), like)


def _membership(rows: Tensor, columns: Tensor, like: Tensor) -> Tensor:
    """Return the membership in the cells from that in their rows and their columns."""
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
    rows, has_row = _bin_positions(height, grid, features.device)
    columns, has_column = _bin_positions(width, grid, features.device)
    index = (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(2).flatten(0, 1)
    inside = (has_row[:, None, :, None] & has_column[None, :, None, :]).flatten(2).flatten(0, 1)
    inside = inside[None]
    if mask is not None:
        inside = inside & mask.flatten(1)[:, index]
    inside = inside[:, :, None]
    pixels = features.flatten(2)[:, :, index].transpose(1, 2)
    return pixels.masked_fill(~inside, 0), inside


def _bin_positions(length: int, grid: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions of each bin and whether they are its own, both ``(G, size of the largest)``."""
    largest = max(stop - start for start, stop in _bins(length, grid))
    start, stop = (edges[:, None] for edges in bin_edges(length, grid, device))
    position = start + torch.arange(largest, device=device)
    return position.clamp(max=length - 1), position < stop


def cell_mean_and_variance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel over each grid cell.

    On the CPU, and where there is a mask: two matrix products with the cells' membership. Every
    channel is first shifted by its own mean over the image, which changes no variance and leaves
    the difference of moments well conditioned; images are walked in blocks, so that there is no
    second copy of the features besides their gradient. On accelerators the maps are read once: the
    moments of strips of rows, whose columns lie in the same cells, are put together. Backward a map
    is read once, and the gradient made in place. Differentiable once.

    Where fused kernels are asked for, the maps lie on a GPU and there is no mask, each way is one
    launch.

    Convention:
        A cell of one pixel has variance 0, also with ``unbiased``. The grid covers the whole
        map: ``mask`` takes pixels out of the cells, it does not move the cells.

    Args:
        features: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        grid: Cells along each axis, >= 1.
        unbiased: Divide by ``m - 1`` instead of ``m``.
        mask: Bool, shape ``(N, H, W)`` or ``(1, H, W)``: pixels that count. All by default.

    Returns:
        Mean and variance, at least float32, each ``(N, C, G * G)``, 0 in cells without pixels, and
        the number of pixels of each cell, ``(N, 1, G * G)`` or ``(1, 1, G * G)``.
    """
    if mask is None and takes_fused(features):
        from wkd_det.ops.fused.moments import fused_moments

        strips = _strips(*features.shape[-2:], grid, features.device, torch.float32)
        return *fused_moments(features, grid, unbiased), strips.count
    (features,) = promote(features)
    strips = _strips(*features.shape[-2:], grid, features.device, features.dtype)
    inside = None if mask is None else mask.flatten(1)[:, None]
    count = strips.count if inside is None else inside.to(features) @ strips.pixels
    divisor = ((count - 1) if unbiased else count).clamp(min=1)
    mean, variance = _Moments.apply(features, strips, inside, count, divisor)
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


@dataclass(frozen=True)
class _Strips:
    """Rows of a map in groups whose pixels of a column belong to the same cells."""

    rows: tuple[tuple[int, int], ...]
    """First row and end of each strip."""
    cells: Tensor
    """Membership of a strip's columns in the cells, 0 or 1, shape ``(strips * W, G * G)``."""
    heights: Tensor
    """Number of rows of each strip, once per column, shape ``(strips * W, 1)``."""
    count: Tensor
    """Pixels of each cell, shape ``(1, 1, G * G)``."""
    size: tuple[int, int, int]
    """Height and width of the map, and cells along each axis."""

    @cached_property
    def pixels(self) -> Tensor:
        """Membership of all pixels, shape ``(H * W, G * G)``: large, so made where it is read."""
        with torch.inference_mode(False), torch.no_grad():
            return grid_membership(*self.size, self.cells)


@lru_cache(maxsize=8)
def _strips(
    height: int, width: int, grid: int, device: torch.device, dtype: torch.dtype
) -> _Strips:
    """Return the strips of a map; they are kept, since a run sees few sizes again and again."""
    ordered = sorted({edge for edges in _bins(height, grid) for edge in edges})
    rows = tuple(zip(ordered, ordered[1:]))
    with torch.inference_mode(False), torch.no_grad():
        like = torch.empty(0, device=device, dtype=dtype)
        by_row = cell_membership(height, grid, device)
        firsts = torch.stack([by_row[start] for start, _ in rows])
        cells = _membership(firsts, cell_membership(width, grid, device), like)
        heights = torch.cat([like.new_full((width, 1), stop - start) for start, stop in rows])
        count = (heights.mT @ cells)[None]
        return _Strips(rows, cells, heights, count, (height, width, grid))


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        maps: Tensor,
        strips: _Strips,
        inside: Tensor | None,
        count: Tensor,
        divisor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        size = count.clamp(min=1)
        if inside is None and _reads_once(maps):
            shift, deviation, squares = _sums_of_strips(maps, strips, size)
        else:
            shift, deviation, squares = _sums_of_pixels(maps, strips, inside, size)
        squares = squares - size * deviation.square()
        ctx.strips = strips
        # The variance of one pixel is 0 whatever it is; so is one that rounding made negative.
        varies = (squares >= 0) & (size > 1)
        ctx.save_for_backward(maps, inside, size, divisor, shift, deviation, varies)
        return (deviation + shift) * (count > 0), squares.clamp_(min=0) / divisor

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, grad_mean: Tensor, grad_variance: Tensor
    ) -> tuple[Tensor | None, ...]:
        maps, inside, size, divisor, shift, deviation, varies = ctx.saved_tensors
        # Each pixel of a cell moves its mean by 1 / m and its variance by 2 (x - mean) / divisor;
        # an empty cell has no pixel, so its share below reaches nobody.
        slope = grad_variance * varies * (2 / divisor)
        offset = grad_mean / size - slope * deviation
        grad = torch.empty_like(maps, memory_format=torch.contiguous_format)
        with without_autocast(grad):  # backward() may be called inside an autocast block
            for images in _blocks(maps):
                part = torch.sub(maps[images], shift[images, ..., None], out=grad[images])
                _spread(part, slope[images], offset[images], ctx.strips)
                if inside is not None:
                    part.flatten(2).masked_fill_(~_rows_of(inside, images), 0)
        return grad, None, None, None, None


def _reads_once(maps: Tensor) -> bool:
    """Whether to read each map once, by a reduction that is slow on a CPU.

    A CPU keeps a block of images in its cache, where it is read many times at little cost.
    """
    return maps.device.type != 'cpu'


def _sums_of_pixels(
    maps: Tensor, strips: _Strips, inside: Tensor | None, size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of each channel; means and sums of squares of the cells' deviations from it."""
    flat = maps.flatten(2)
    shape = (*flat.shape[:2], strips.pixels.shape[1])
    deviation, squares = flat.new_empty(shape), flat.new_empty(shape)
    shift = flat.new_empty(*flat.shape[:2], 1)
    for images in _blocks(maps):
        centred, shift[images] = _centred(flat, inside, images)
        sums = _cell_sums(centred, strips.pixels)
        torch.div(sums, _rows_of(size, images), out=deviation[images])
        squares[images] = _cell_sums(centred.square_(), strips.pixels)
    return shift, deviation, squares


def _sums_of_strips(maps: Tensor, strips: _Strips, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same, from the moments of the columns of each strip: one read of the maps.

    The sum of squares over a cell is that within its strips plus that between them. Means of strips
    are rounded, so a variance is off by about 6e-8 times the ratio of mean and deviation.
    """
    moments = [torch.var_mean(part, dim=3, correction=0) for part in _parts(maps, strips)]
    within, mean = (torch.cat(parts, dim=2).flatten(2) for parts in zip(*moments))
    shift = (mean @ strips.heights) / strips.heights.sum()
    weighted = strips.cells * strips.heights
    centred = mean - shift
    deviation = centred @ weighted / size
    return shift, deviation, (centred.square() + within) @ weighted


def _spread(maps: Tensor, slope: Tensor, offset: Tensor, strips: _Strips) -> None:
    """Multiply each pixel by the slopes of its cells and add their offsets, in place."""
    if slope.shape[2] == 1:  # one cell
        torch.addcmul(offset[..., None], maps, slope[..., None], out=maps)
        return
    columns = (len(strips.rows), maps.shape[3])
    slope, offset = (
        (of_cells @ strips.cells.t()).unflatten(2, columns) for of_cells in (slope, offset)
    )
    start = 0
    for part in _parts(maps, strips):
        these = slice(start, start + part.shape[2])
        start = these.stop
        torch.addcmul(offset[:, :, these, None], part, slope[:, :, these, None], out=part)


def _parts(maps: Tensor, strips: _Strips) -> list[Tensor]:
    """Return strips, ``(N, C, strips, rows, W)``: all in one view where they are of one height."""
    heights = {stop - start for start, stop in strips.rows}
    if len(heights) == 1:
        return [maps.unflatten(2, (len(strips.rows), -1))]
    return [maps[:, :, None, start:stop] for start, stop in strips.rows]


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


def _blocks(maps: Tensor) -> list[slice]:
    on_cpu = maps.device.type == 'cpu'
    elements = _BLOCK_ELEMENTS if on_cpu else _BLOCK_ELEMENTS_OF_ACCELERATORS
    return equal_parts(maps.shape[0], elements // max(maps.shape[1:].numel(), 1))
