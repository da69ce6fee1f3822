"""Mean and variance of each channel over each grid cell, and their gradient, in one launch each.

Imported where it is used, since it needs triton;
:func:`wkd_det.ops.cells.cell_mean_and_variance` is the reference.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

_TILE = 1024  # entries of a map that a program holds: 8 for each thread of 4 warps
_LONGEST = 1024  # pixels in a tile


def fused_moments(maps: Tensor, grid: int, unbiased: bool) -> tuple[Tensor, Tensor]:
    """Mean and variance of the pixels of each cell.

    Half precision is read as it is. The mean and the squared deviations of a cell are put together
    tile by tile, so a map comes from memory once, up to the pixels that cells share, and no
    difference of large sums is made.

    Args:
        maps: Shape ``(N, C, H, W)``, of any strides.
        grid: Cells along each axis, >= 1.
        unbiased: Divide by ``m - 1`` instead of ``m``; a cell of one pixel has variance 0.

    Returns:
        Mean and variance in float32, each ``(N, C, G * G)``. Differentiable once.
    """
    return _Moments.apply(maps, grid, unbiased)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor, grid: int, unbiased: bool) -> tuple[Tensor, Tensor]:
        samples, channels, height, width = maps.shape
        mean, variance = (
            maps.new_empty(samples, channels, grid * grid, dtype=torch.float32) for _ in range(2)
        )
        largest = (height // grid + 2) * (width // grid + 2)
        pixels, lines = _tile(min(largest, height * width))
        blocks = triton.cdiv(samples * channels, lines)
        _moments_kernel[(blocks * grid * grid,)](
            maps, mean, variance, samples * channels, channels, height, width, *maps.stride(),
            cells=grid, unbiased=unbiased, lines=lines, pixels=pixels,
        )  # fmt: skip
        ctx.save_for_backward(maps, mean)
        ctx.grid, ctx.unbiased = grid, unbiased
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, by_mean: Tensor, by_variance: Tensor
    ) -> tuple[Tensor | None, ...]:
        maps, mean = ctx.saved_tensors
        samples, channels, height, width = maps.shape
        by_maps = torch.empty_like(maps)
        pixels, lines = _tile(height * width)
        spans = triton.cdiv(height * width, pixels)
        blocks = triton.cdiv(samples * channels, lines)
        _gradient_kernel[(blocks * spans,)](
            maps, mean, by_mean.contiguous(), by_variance.contiguous(), by_maps,
            samples * channels, channels, height, width, *maps.stride(), *by_maps.stride(),
            cells=ctx.grid, unbiased=ctx.unbiased, lines=lines, pixels=pixels,
            rows_of_cells=_bins_of_a_position(height, ctx.grid),
            columns_of_cells=_bins_of_a_position(width, ctx.grid),
        )  # fmt: skip
        return by_maps, None, None


def _tile(pixels: int) -> tuple[int, int]:
    """Return pixels and lines, which are channels of images, of a tile."""
    pixels = min(max(triton.next_power_of_2(pixels), 16), _LONGEST)
    return pixels, _TILE // pixels


def _bins_of_a_position(length: int, grid: int) -> int:
    """Return the most bins of adaptive pooling, or one more, that share a position of an axis."""
    return 1 if length % grid == 0 else -(-grid // length) + 1


@triton.jit
def _moments_kernel(
    maps, mean, variance, all_lines, channels, height, width,
    by_sample, by_channel, by_row, by_column,
    cells: tl.constexpr, unbiased: tl.constexpr, lines: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    """Moments of some lines over one cell; the cells of a line follow each other."""
    cell = tl.program_id(0) % (cells * cells)
    line = (tl.program_id(0) // (cells * cells)).to(tl.int64) * lines + tl.arange(0, lines)
    known = line < all_lines
    begin = maps + (line // channels) * by_sample + (line % channels) * by_channel
    i, j = cell // cells, cell % cells
    top, left = i * height // cells, j * width // cells
    across = ((j + 1) * width + cells - 1) // cells - left
    size = (((i + 1) * height + cells - 1) // cells - top) * across

    average = tl.zeros((lines,), tl.float32)
    squares = tl.zeros((lines,), tl.float32)
    for start in range(0, size, pixels):
        pixel = start + tl.arange(0, pixels)
        place = (top + pixel // across) * by_row + (left + pixel % across) * by_column
        there = known[:, None] & (pixel < size)[None, :]
        values = tl.load(begin[:, None] + place[None, :], mask=there, other=0.0).to(tl.float32)
        count = tl.minimum(size - start, pixels).to(tl.float32)
        of_tile = tl.sum(values, 1) / count
        centred = tl.where(there, values - of_tile[:, None], 0.0)
        apart = of_tile - average
        share = count / (start + count)
        average += apart * share
        squares += tl.sum(centred * centred, 1) + apart * apart * share * start
    divisor = tl.maximum(size - 1, 1) if unbiased else size
    tl.store(mean + line * (cells * cells) + cell, average, mask=known)
    tl.store(variance + line * (cells * cells) + cell, squares / divisor, mask=known)


@triton.jit
def _gradient_kernel(
    maps, mean, by_mean, by_variance, by_maps, all_lines, channels, height, width,
    by_sample, by_channel, by_row, by_column, to_sample, to_channel, to_row, to_column,
    cells: tl.constexpr, unbiased: tl.constexpr, lines: tl.constexpr, pixels: tl.constexpr,
    rows_of_cells: tl.constexpr, columns_of_cells: tl.constexpr,
):  # fmt: skip
    """Gradient of some pixels of some lines: a sum over the cells that hold a pixel."""
    spans = tl.cdiv(height * width, pixels)
    pixel = (tl.program_id(0) % spans) * pixels + tl.arange(0, pixels)
    line = (tl.program_id(0) // spans).to(tl.int64) * lines + tl.arange(0, lines)
    there = (line < all_lines)[:, None] & (pixel < height * width)[None, :]
    image, channel = line // channels, line % channels
    y, x = pixel // width, pixel % width
    begin = (image * by_sample + channel * by_channel)[:, None]
    place = maps + begin + (y * by_row + x * by_column)[None, :]
    values = tl.load(place, mask=there, other=0.0).to(tl.float32)

    # First and last bin of adaptive pooling that hold a position.
    top, bottom = y * cells // height, ((y + 1) * cells + height - 1) // height - 1
    left, right = x * cells // width, ((x + 1) * cells + width - 1) // width - 1
    result = tl.zeros((lines, pixels), tl.float32)
    for down in tl.static_range(rows_of_cells):
        for along in tl.static_range(columns_of_cells):
            i, j = top + down, left + along
            tall = ((i + 1) * height + cells - 1) // cells - i * height // cells
            across = ((j + 1) * width + cells - 1) // cells - j * width // cells
            size = tall * across
            divisor = tl.maximum(size - 1, 1) if unbiased else size
            cell = line[:, None] * (cells * cells) + (i * cells + j)[None, :]
            holds = there & ((i <= bottom) & (j <= right))[None, :]
            deviation = values - tl.load(mean + cell, mask=holds, other=0.0)
            slope = tl.load(by_variance + cell, mask=holds, other=0.0) * (2.0 / divisor)[None, :]
            offset = tl.load(by_mean + cell, mask=holds, other=0.0) / size[None, :]
            result += tl.where(holds, offset + slope * deviation, 0.0)
    begin = (image * to_sample + channel * to_channel)[:, None]
    place = by_maps + begin + (y * to_row + x * to_column)[None, :]
    tl.store(place, result.to(by_maps.dtype.element_ty), mask=there)
