"""Distances of box offsets."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_nonnegative


def squared_offset_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared distance :math:`\lVert o_T - o_S \rVert^2` of box offsets, one value per RoI.

    Convention:
        Sum over the offsets of a RoI, in the units of the box coder. The teacher gets no
        gradient.

    Args:
        student: Offsets, shape ``(R, D)``; computed in at least float32.
        teacher: Same shape.

    Returns:
        Shape ``(R,)``.

    Raises:
        ValueError: If shapes disagree.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (R, D), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        return (student - teacher).square().sum(dim=1)


def offset_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of box offsets.

    Convention:
        Mean over RoIs and offsets. No RoI gives 0 with a graph. The teacher gets no gradient.

    Args:
        student: Offsets, shape ``(R, D)``; computed in at least float32.
        teacher: Same shape.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes disagree.

    References: the box part of Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation,
        ICLR 2023, as in its detection code.
    """
    return weighted_mean(squared_offset_distance(student, teacher)) / student.shape[1]


class OffsetLoss(Loss):
    """Mean squared difference of box offsets, as FCFD compares those of all classes.

    Args:
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If it is negative.

    See :func:`wkd_det.functional.offset_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'offsets'

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_nonnegative(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of offsets ``(R, D)``, scalar."""
        return self.loss_weight * offset_loss(student, teacher)


class BoxLoss(Loss):
    r"""Distance of the boxes that two heads give the same RoIs.

    .. math::
        L = \lVert o_T - o_S \rVert^2 + w \, (1 - DIoU(B_T, B_S)), \qquad
        DIoU = IoU - \rho^2 / c^2

    with offsets :math:`o` and boxes :math:`B` of the target class, :math:`\rho` the distance of
    the boxes' centres and :math:`c` the diagonal of the smallest box around both.

    Convention:
        - Mean over RoIs; no RoI gives 0 with a graph.
        - Offsets are in the units of the box coder (normalised by its standard deviations), as
          the head gives them; boxes in pixels.
        - The teacher gets no gradient.

    Args:
        diou_weight: w, the weight of the boxes beside the offsets.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a number is negative.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, experiments on COCO (weight 20); DIoU: Zheng, Wang,
        Liu, Li, Ye, Ren, Distance-IoU Loss, AAAI 2020.
    """

    takes: ClassVar[str] = 'boxes'
    scalable: ClassVar[tuple[str, ...]] = ('diou_weight',)

    def __init__(self, *, diou_weight: float = 20.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_nonnegative(diou_weight=diou_weight, loss_weight=loss_weight)
        self.diou_weight = diou_weight
        self.loss_weight = loss_weight
        self.diou = MODELS.build(dict(type='DIoULoss', reduction='none'))

    def forward(
        self, student: Tensor, teacher: Tensor, student_boxes: Tensor, teacher_boxes: Tensor
    ) -> Tensor:
        """Loss of offsets and of boxes (corners), each ``(R, 4)``, scalar."""
        if student_boxes.shape != student.shape or teacher_boxes.shape != student.shape:
            raise ValueError(
                f'boxes must have the shape of the offsets {tuple(student.shape)}, '
                f'got {tuple(student_boxes.shape)} and {tuple(teacher_boxes.shape)}'
            )
        offsets = squared_offset_distance(student, teacher)
        with without_autocast(student):
            boxes = self.diou(*promote(student_boxes, teacher_boxes.detach()))
            return self.loss_weight * weighted_mean(offsets + self.diou_weight * boxes)
