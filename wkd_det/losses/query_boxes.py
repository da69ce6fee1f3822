"""Distance of the boxes of two queries: of their coordinates, and GIoU."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import PlaceLoss
from wkd_det.losses.boxes import generalized_iou_loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_nonnegative, check_tensors

_UNITS = 1000.0  # of a side of the image: the guard of GIoU is small against any box then


def query_box_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Distance of pairs of boxes as a DETR measures it, the teacher's in place of the annotated.

    .. math:: w_1 \lVert b^S - b^T \rVert_1 + w_2 (1 - GIoU(B^S, B^T))

    with the boxes :math:`b` as centre, width and height, and :math:`B` as corners.

    Convention:
        - Sum over the four coordinates, mean over pairs. The teacher gets no gradient.
        - Coordinates are shares of the image's width and height; so is the first part. GIoU is the
          same in any unit.

    Args:
        student: Centre, width and height ``cx, cy, w, h``, shape ``(R, 4)``; any floating type,
            computed in at least float32.
        teacher: Same shape.
        l1_weight: :math:`w_1` >= 0.
        giou_weight: :math:`w_2` >= 0.
        weight: Weight of each pair, shape ``(R,)``.
        avg_factor: Divisor of the sum over pairs; their number by default.

    Returns:
        Scalar. No pairs give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is negative.

    References: the box part of Carion et al., End-to-End Object Detection with Transformers, ECCV
        2020 (weights 5 and 2), between teacher and student as in Chang, Wang, Xu, Chen, Luo,
        DETRDistill, ICCV 2023; GIoU: Rezatofighi et al., CVPR 2019.

    Example:
        >>> student = torch.tensor([[0.25, 0.5, 0.5, 1.0]])  # the left half
        >>> teacher = torch.tensor([[0.5, 0.5, 1.0, 1.0]])  # all of the image
        >>> query_box_loss(student, teacher)  # 5 (1/4 + 1/2) + 2 (1 - 1/2)
        tensor(4.7500)
    """
    check_tensors(student=student, teacher=teacher)
    if student.dim() != 2 or student.shape[1] != 4 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (R, 4), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    check_nonnegative(l1_weight=l1_weight, giou_weight=giou_weight)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        distance = l1_weight * (student - teacher).abs().sum(dim=1)
        boxes = (_UNITS * _corners(one) for one in (student, teacher))
        distance = distance + giou_weight * generalized_iou_loss(*boxes)
        return weighted_mean(distance, weight, avg_factor)


def _corners(boxes: Tensor) -> Tensor:
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)


class QueryBoxLoss(PlaceLoss):
    """Distance of the boxes of pairs of queries: of their coordinates, and GIoU.

    Args:
        l1_weight: Weight of the distance of centre, width and height, >= 0.
        giou_weight: Weight of GIoU, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is negative.

    See :func:`wkd_det.functional.query_box_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'query_boxes'

    def __init__(
        self, *, l1_weight: float = 5.0, giou_weight: float = 2.0, loss_weight: float = 1.0
    ) -> None:
        check_nonnegative(l1_weight=l1_weight, giou_weight=giou_weight)
        super().__init__(query_box_loss, loss_weight, l1_weight=l1_weight, giou_weight=giou_weight)
