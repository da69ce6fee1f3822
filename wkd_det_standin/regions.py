"""Features of regions: RoIAlign by torchvision's kernel, RoIPool in the convention of mmcv.

Regions are ``(R, 5)``: the index of the image, then the corners in pixels of the image.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  defines torch.ops.torchvision
from torch import Tensor


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the means of bilinear samples in the cells of each region.

    Args:
        features: Maps ``(N, C, H, W)``.
        rois: Regions ``(R, 5)``.
        output: Where the result is written, ``(R, C, aligned_height, aligned_width)``.
        argmax_y: Unused; of ``pool_mode`` 0.
        argmax_x: Unused; of ``pool_mode`` 0.
        aligned_height: Cells in y.
        aligned_width: Cells in x.
        spatial_scale: Pixels of the map per pixel of the image.
        sampling_ratio: Samples per cell and direction; 0 for one per pixel of the map.
        pool_mode: 1, the mean.
        aligned: Whether regions are moved by half a pixel.

    Raises:
        NotImplementedError: For the maximum, which torchvision does not have.
    """
    _check_mean(pool_mode)
    size = (aligned_height, aligned_width)
    output.copy_(
        torch.ops.torchvision.roi_align(
            _known(features), _known(rois), spatial_scale, *size, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_features: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of :func:`roi_align_forward` for the maps."""
    _check_mean(pool_mode)
    size = (aligned_height, aligned_width)
    grad_features.copy_(
        torch.ops.torchvision._roi_align_backward(
            _known(grad_output),
            _known(rois),
            spatial_scale,
            *size,
            *grad_features.shape,
            sampling_ratio,
            aligned,
        )
    )


def _known(values: Tensor) -> Tensor:
    """The values in a type that the kernels have: float32 in place of bfloat16."""
    return values.float() if values.dtype == torch.bfloat16 else values


def _check_mean(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "mmcv's roi_align with pool_mode='max' needs a compiled mmcv: "
            'torchvision has no kernel for it'
        )


def roi_pool_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maximum in the cells of each region, and where it is.

    The edges of cells are not rounded to pixels first, as torchvision's are; so this is computed
    by torch, region by region.

    Args:
        features: Maps ``(N, C, H, W)``.
        rois: Regions ``(R, 5)``.
        output: Where the result is written, ``(R, C, pooled_height, pooled_width)``; 0 in a cell
            outside the map.
        argmax: Where the index of the maximum in the flat map is written, -1 in an empty cell.
        pooled_height: Cells in y.
        pooled_width: Cells in x.
        spatial_scale: Pixels of the map per pixel of the image.
    """
    height, width = features.shape[-2:]
    argmax.fill_(-1)
    output.zero_()
    for r, (image, *corners) in enumerate(rois.double().tolist()):
        x1, y1 = corners[0] * spatial_scale, corners[1] * spatial_scale
        x2, y2 = (corners[2] + 1) * spatial_scale, (corners[3] + 1) * spatial_scale
        if x2 <= x1 or y2 <= y1:
            continue
        rows = _cells(y1, y2, pooled_height, height)
        columns = _cells(x1, x2, pooled_width, width)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom <= top or right <= left:
                    continue
                cell = features[int(image), :, top:bottom, left:right].flatten(1)
                output[r, :, i, j], place = cell.max(dim=1)
                row = top + torch.div(place, right - left, rounding_mode='floor')
                argmax[r, :, i, j] = (row * width + left + place % (right - left)).int()


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_features: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of :func:`roi_pool_forward` for the maps."""
    flat = grad_features.flatten(2)
    places = argmax.flatten(2).long()
    values = grad_output.flatten(2) * (places >= 0)
    for image, index, value in zip(rois[:, 0].long().tolist(), places.clamp(min=0), values):
        flat[image].scatter_add_(1, index, value)


def _cells(start: float, end: float, count: int, limit: int) -> list[tuple[int, int]]:
    """First pixel and the one after the last of each cell, inside the map."""
    step = (end - start) / count
    edges = [(index * step + start, (index + 1) * step + start) for index in range(count)]
    return [
        (min(max(int(low // 1), 0), limit), min(max(int(-(-high // 1)), 0), limit))
        for low, high in edges
    ]
