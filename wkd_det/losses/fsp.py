"""FSP: how the channels of one stage go with those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import level_masks
from wkd_det.ops.maps import pooled


def fsp_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    mask: Sequence[Tensor | None] | None = None,
) -> Tensor:
    r"""Squared distance of the flow between consecutive stages.

    .. math::
        \sum_i \frac1{C_i C_{i+1}} \lVert G_{T,i} - G_{S,i} \rVert_F^2, \qquad
        G_i = \frac1{H W} \sum_x F_{i,x} F_{i+1,x}^T

    the products of all channels of a stage with all of the next, averaged over the pixels.

    Convention:
        - The larger map of two stages is averaged over the cells of the smaller one's grid first.
        - Mean over images and over pairs of channels, sum over pairs of stages.
        - The sizes of student and teacher may differ where there is no mask.
        - The teacher gets no gradient.

    Args:
        student: Maps of the stages, at least two, each ``(N, C, H, W)``; any floating type,
            computed in at least float32.
        teacher: Maps of the same widths.
        mask: Bool, each ``(N, H, W)``: pixels that count; None for all.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a level is no tensor, or one tensor stands for all levels.
        ValueError: If levels or shapes disagree, or there is one level only.

    References: Yim et al., A Gift from Knowledge Distillation, CVPR 2017; means and pooling are
        those of RepDistiller.

    Example:
        >>> import torch
        >>> student = [torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)]  # G = 1
        >>> teacher = [2 * student[0], 3 * student[1]]  # G = 6
        >>> fsp_loss(student, teacher)
        tensor(25.)
    """
    masks = level_masks(student, teacher, mask, same_size=mask is not None)
    if len(student) < 2:
        raise ValueError(f'fsp_loss compares pairs of stages: it needs 2, got {len(student)}')
    total = 0.0
    with without_autocast(student[0]):
        for stage in range(len(student) - 1):
            after = slice(stage, stage + 2)
            change = _flow(student[after], masks[after]) - _flow(
                [level.detach() for level in teacher[after]], masks[after]
            )
            total = total + (change.square().mean() if change.numel() else change.sum())
    return total


def _flow(maps: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """Products of the channels of two maps, averaged over the pixels that count."""
    first, second = promote(*maps)
    size = tuple(min(pair) for pair in zip(first.shape[-2:], second.shape[-2:]))
    first, second = (pooled(level, size, mask) for level, mask in zip((first, second), masks))
    pixels = size[0] * size[1]
    if masks[0] is not None:  # cells that hold a pixel of both; the others are 0 in one of them
        share = [pooled(mask[:, None].to(first), size) > 0 for mask in masks]
        pixels = (share[0] & share[1]).sum(dim=(2, 3)).clamp(min=1)[:, :, None]
    return matrix_product(first.flatten(2), second.flatten(2).mT) / pixels


class FSPLoss(Loss):
    """Squared distance of the flow between consecutive stages (FSP).

    The reference trains the student by it alone for the first 30 epochs of CIFAR-100 and then by
    the cross entropy alone: a run with ``ce_weight=0`` whose checkpoint the next one loads.

    Args:
        loss_weight: Factor of the loss, >= 0; 50 in RepDistiller.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.fsp_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask``: pixels, each ``(N, H, W)``."""
        return self.loss_weight * fsp_loss(student, teacher, mask=mask)
