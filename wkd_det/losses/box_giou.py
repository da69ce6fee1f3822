"""GIoU of the boxes that distributions of their sides expect."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import PlaceLoss
from wkd_det.losses.boxes import generalized_iou_loss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_sides
from wkd_det.ops.logits import ready_logits


def box_giou_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Generalised IoU loss of the expected boxes of two heads at the same places.

    .. math:: 1 - GIoU(B^S, B^T), \quad
        B = (-d_{left}, -d_{top}, d_{right}, d_{bottom}), \quad d = \sum_k k \, softmax(z)_k

    The distances of the sides are expectations over the bins, as the head predicts them; the
    place itself and the stride of its level change no IoU.

    Convention:
        - Mean over places. The teacher gets no gradient.

    Args:
        student: Logits of the bins of the four sides, shape ``(R, 4, B)``; any floating type,
            computed in at least float32.
        teacher: Same shape.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, or there are not four sides.

    References: the box term in the authors' code of CrossKD (Wang et al., CVPR 2024); GIoU:
        Rezatofighi et al., CVPR 2019.

    Example:
        >>> student, teacher = torch.full((2, 1, 4, 3), -99.0)
        >>> student[..., 1], teacher[..., 2] = 0, 0  # 1 and 2 strides to each side
        >>> box_giou_loss(student, teacher)  # an area of 4 in one of 16
        tensor(0.7500)
    """
    check_sides(student, teacher)
    if student.shape[1] != 4:
        raise ValueError(f'boxes have 4 sides, got {student.shape[1]}')
    with without_autocast(student):
        boxes = (_expected_boxes(logits) for logits in ready_logits(student, teacher))
        return weighted_mean(generalized_iou_loss(*boxes), weight, avg_factor)


def _expected_boxes(logits: Tensor) -> Tensor:
    """Corners in strides from the place, shape ``(R, 4)``."""
    bins = torch.arange(logits.shape[2], device=logits.device).to(logits)
    left, top, right, bottom = (logits.softmax(dim=2) * bins).sum(dim=2).unbind(dim=1)
    return torch.stack([-left, -top, right, bottom], dim=1)


class BoxGIoULoss(PlaceLoss):
    """Generalised IoU loss of the boxes that distributions of their sides expect.

    Args:
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.box_giou_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'box_distributions'

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(box_giou_loss, loss_weight)
