"""Feature maps on a common grid, and their pixels without the padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.ops.arithmetic import matrix_product
from wkd_det.ops.cells import cell_membership


def on_common_grid(
    first: Tensor, second: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Average the larger of two maps over the cells of the smaller one's grid.

    Args:
        first: Shape ``(N, C, H, W)``.
        second: Shape ``(N, C', H', W')``.
        mask: Pixels of both that count, bool, shape ``(N, H, W)``; only maps of one size have one.

    Returns:
        Both maps at the lesser height and the lesser width, 0 where the mask is False, and the
        mask.
    """
    size = tuple(min(pair) for pair in zip(first.shape[-2:], second.shape[-2:]))
    if mask is not None:
        return without_padding(first, mask), without_padding(second, mask), mask
    return pooled(first, size), pooled(second, size), None


def without_padding(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Maps ``(N, C, H, W)`` that are 0 outside ``mask``, ``(N, H, W)``; padding may hold inf."""
    return maps if mask is None else maps.masked_fill(~mask[:, None], 0)


def pooled(maps: Tensor, size: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """Averages over the cells of a grid, of the pixels that count.

    Args:
        maps: Shape ``(N, C, H, W)``.
        size: Rows and columns of the grid; cells are the bins of adaptive pooling.
        mask: Bool, shape ``(N, H, W)``; a cell without a pixel gets 0.

    Returns:
        Shape ``(N, C, *size)``.

    >>> pooled(torch.tensor([[[[1.0, 3.0]]]]), (1, 1))
    tensor([[[[2.]]]])
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return without_padding(maps, mask)
    if mask is None:
        return cell_averages(maps, size)
    share = cell_averages(mask[:, None].to(maps), size)
    mean = cell_averages(without_padding(maps, mask), size)
    return mean / share.clamp(min=torch.finfo(maps.dtype).tiny)


def cell_averages(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages over the bins of adaptive pooling, also in torch's deterministic mode.

    The gradient of ``adaptive_avg_pool2d`` is an error there on a GPU; two matrix products give the
    same averages up to rounding.

    Args:
        maps: Shape ``(N, C, H, W)``.
        size: Rows and columns of the grid.

    Returns:
        Shape ``(N, C, *size)``.

    >>> cell_averages(torch.tensor([[[[1.0, 3.0, 8.0]]]]), (1, 2))
    tensor([[[[2.0000, 5.5000]]]])
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(maps, size)
    rows, columns = (
        cell_membership(length, grid, maps.device).to(maps)
        for length, grid in zip(maps.shape[-2:], size)
    )
    return matrix_product(
        matrix_product((rows / rows.sum(dim=0)).t().expand(*maps.shape[:2], -1, -1), maps),
        (columns / columns.sum(dim=0)).expand(*maps.shape[:2], -1, -1),
    )


def mean_per_image(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over channels and the pixels that count.

    Args:
        values: Shape ``(N, C, H, W)``.
        mask: Bool, shape ``(N, H, W)``; an image without a pixel gets 0.

    Returns:
        Shape ``(N,)``.
    """
    if mask is None:
        return values.flatten(1).mean(dim=1)
    total = without_padding(values, mask).flatten(1).sum(dim=1)
    return total / (values.shape[1] * mask.flatten(1).sum(dim=1).clamp(min=1))


def energy(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean square over the channels at each pixel, per image scaled to length 1.

    Args:
        maps: Shape ``(N, C, H, W)``.
        mask: Bool, shape ``(N, H, W)``: pixels that count; the others get 0.

    Returns:
        Shape ``(N, 1, H, W)``. An image of zeros gives zeros.
    """
    square = without_padding(maps, mask).square().mean(dim=1)
    return F.normalize(square.flatten(1), dim=1).view_as(square)[:, None]
