"""ReviewKD: the hierarchical context loss, maps compared at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import is_integer, level_masks
from wkd_det.ops.maps import cell_averages

CONTEXT_GRIDS = (4, 2, 1)


def hierarchical_context_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    grids: Sequence[int] = CONTEXT_GRIDS,
    mask: Sequence[Tensor | None] | None = None,
) -> Tensor:
    r"""Squared difference of feature maps at several resolutions, summed over the levels.

    Each level compares the maps themselves and their averages over ``g x g`` cells:

    .. math::
        L = \sum_{level} \frac{\sum_{i=0}^{n} 2^{-i}\, MSE(pool_i(S), pool_i(T))}
        {\sum_{i=0}^{n} 2^{-i}}

    where :math:`pool_0` is the identity and the others are adaptive average pooling to ``grids``
    in the order given. A grid that is not below the map's height is left out, and the next one
    takes its factor.

    Convention:
        - Sum over levels; mean over images, channels and pixels or cells.
        - ``mask`` takes pixels out: the average of a cell runs over its pixels that count, and
          cells without any do not count.
        - The teacher gets no gradient.

    Args:
        student: Maps of a pyramid, each ``(N, C, H, W)``; computed in at least float32.
        teacher: Maps of the same shapes.
        grids: Cells along each axis of the pooled comparisons, each >= 1.
        mask: Bool, each ``(N, H, W)``: pixels that count; None for all.

    Returns:
        Scalar.

    Raises:
        TypeError: If a level is no tensor, or one tensor stands for all levels.
        ValueError: If levels or shapes disagree or a grid is below 1.

    References: Chen, Liu, Zhao, Jia, Distilling Knowledge via Knowledge Review, CVPR 2021,
        section 3.3; pooling sizes and factors are those of its code.

    Example:
        >>> student = [torch.zeros(1, 2, 1, 1)]  # a single pixel: no grid is below its height
        >>> hierarchical_context_loss(student, [student[0] + 3])
        tensor(9.)
    """
    masks = level_masks(student, teacher, mask)
    grids = _checked(grids)
    with without_autocast(student[0]):
        return torch.stack(
            [
                _level_loss(own, other, inside, grids)
                for own, other, inside in zip(student, teacher, masks)
            ]
        ).sum()


def _level_loss(
    student: Tensor, teacher: Tensor, mask: Tensor | None, grids: Sequence[int]
) -> Tensor:
    student, teacher = promote(student, teacher.detach())
    if mask is None:
        difference = student - teacher
        share = None
    else:
        outside = ~mask[:, None]  # padding may hold anything, also inf
        difference = student.masked_fill(outside, 0) - teacher.masked_fill(outside, 0)
        share = mask[:, None].to(difference)
    total = _mean_square(difference, share)
    factor = weights = 1.0
    for grid in grids:
        if grid >= student.shape[2]:
            continue
        factor /= 2
        weights += factor
        pooled = cell_averages(difference, (grid, grid))
        pooled_share = None
        if share is not None:
            pooled_share = cell_averages(share, (grid, grid))
            pooled = pooled / pooled_share.clamp(min=torch.finfo(pooled.dtype).tiny)
        total = total + factor * _mean_square(pooled, pooled_share)
    return total / weights


def _mean_square(difference: Tensor, share: Tensor | None) -> Tensor:
    """Mean over images of the mean square where ``share``, ``(N, 1, H, W)``, is above 0."""
    if share is None:
        return difference.square().mean() if difference.numel() else difference.sum()
    square = difference.square().mean(dim=1, keepdim=True)  # 0 where nothing is shared
    count = (share > 0).sum(dim=(1, 2, 3)).clamp(min=1)
    per_image = square.sum(dim=(1, 2, 3)) / count
    return per_image.sum() / max(len(per_image), 1)


def _checked(grids: Sequence[int]) -> tuple[int, ...]:
    """Return the grids as plain integers.

    Raises:
        ValueError: If one is no integer of at least 1.
    """
    if not all(is_integer(grid, 1) for grid in grids):
        raise ValueError(f'grids must be integers of at least 1, got {tuple(grids)}')
    return tuple(int(grid) for grid in grids)


class ReviewKDLoss(Loss):
    """Squared difference of pyramids at several resolutions (ReviewKD).

    Args:
        grids: Cells along each axis of the pooled comparisons, each >= 1.
        loss_weight: Factor of the loss, >= 0. Published for Faster R-CNN on COCO: 1.2 for R-101 to
            R-18, 2.0 for R-50 to MobileNetV2, 1.0 for R-101 to R-50; for classifiers 0.6 to 8 on
            CIFAR-100, e.g. 5 for ResNet32x4 to ResNet8x4, 1 for ResNet-34 to ResNet-18 and 8 for
            ResNet-50 to MobileNetV1 on ImageNet.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.hierarchical_context_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, grids: Sequence[int] = CONTEXT_GRIDS, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.grids = _checked(grids)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask``: pixels, each ``(N, H, W)``."""
        return self.loss_weight * hierarchical_context_loss(
            student, teacher, grids=self.grids, mask=mask
        )
