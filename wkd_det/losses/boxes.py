"""Distances of the boxes that two heads give the same RoIs: their offsets, and DIoU."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_nonnegative, check_tensors, plain_number

_GUARD = 1e-6  # on areas in square pixels, as in MMDetection


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
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.
    """
    check_tensors(student=student, teacher=teacher)
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
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: the box part of Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation,
        ICLR 2023, as in its detection code.
    """
    return weighted_mean(squared_offset_distance(student, teacher)) / student.shape[1]


def distance_iou_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Distance-IoU loss of pairs of boxes, one value per pair.

    .. math:: 1 - IoU + \rho^2 / c^2

    with :math:`\rho` the distance of the centres and :math:`c` the diagonal of the smallest box
    around both. Value and gradient are those of MMDetection's ``DIoULoss``, bit for bit.

    Numerics:
        1e-6 is added to the area of the union and to :math:`c^2`: boxes without an area stay
        finite.

    Args:
        student: Corners ``x1, y1, x2, y2``, shape ``(R, 4)``.
        teacher: Same shape.

    Returns:
        Shape ``(R,)``, in [0, 2].

    References: Zheng, Wang, Liu, Li, Ye, Ren, Distance-IoU Loss, AAAI 2020.

    Example:
        >>> one, other = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[2.0, 0, 4, 2]])
        >>> distance_iou_loss(one, other)  # side by side: 1 - 0 + 2^2 / (4^2 + 2^2)
        tensor([1.2000])
    """
    inner = _extent(
        torch.max(student[:, :2], teacher[:, :2]), torch.min(student[:, 2:], teacher[:, 2:])
    )
    overlap = inner[:, 0] * inner[:, 1]
    union = _area(student) + _area(teacher) - overlap + _GUARD
    outer = _extent(
        torch.min(student[:, :2], teacher[:, :2]), torch.max(student[:, 2:], teacher[:, 2:])
    )
    diagonal = outer[:, 0].square() + outer[:, 1].square() + _GUARD
    shift = (teacher[:, :2] + teacher[:, 2:]) - (student[:, :2] + student[:, 2:])
    distance = shift[:, 0].square() / 4 + shift[:, 1].square() / 4
    return 1 - (overlap / union - distance / diagonal)


def generalized_iou_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Generalised IoU loss of pairs of boxes, one value per pair.

    .. math:: 1 - IoU + (|C| - |A \cup B|) / |C|

    with the smallest box :math:`C` around both. The areas of the union and of :math:`C` are at
    least 1e-6, as in MMDetection's ``GIoULoss``.

    Args:
        student: Corners ``x1, y1, x2, y2``, shape ``(R, 4)``.
        teacher: Same shape.

    Returns:
        Shape ``(R,)``, in [0, 2].

    References: Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese, Generalized Intersection over
        Union, CVPR 2019.

    Example:
        >>> one, other = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[3.0, 0, 4, 1]])
        >>> generalized_iou_loss(one, other)  # 1 - 0 + (4 - 2) / 4
        tensor([1.5000])
    """
    inner = _extent(
        torch.max(student[:, :2], teacher[:, :2]), torch.min(student[:, 2:], teacher[:, 2:])
    )
    outer = _extent(
        torch.min(student[:, :2], teacher[:, :2]), torch.max(student[:, 2:], teacher[:, 2:])
    )
    overlap = inner[:, 0] * inner[:, 1]
    union = (_area(student) + _area(teacher) - overlap).clamp(min=_GUARD)
    around = (outer[:, 0] * outer[:, 1]).clamp(min=_GUARD)
    return 1 - overlap / union + (around - union) / around


def _extent(upper_left: Tensor, lower_right: Tensor) -> Tensor:
    return (lower_right - upper_left).clamp(min=0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


class OffsetLoss(Loss):
    """Mean squared difference of the box offsets of all classes, the box part of FCFD.

    Args:
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.offset_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'offsets'

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of offsets ``(R, D)``, scalar."""
        return self.loss_weight * offset_loss(student, teacher)


class BoxLoss(Loss):
    r"""Distance of the boxes that two heads give the same RoIs, as WKD adds it to its detectors.

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
        diou_weight: :math:`w`, weight of the boxes against the offsets, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is negative.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, experiments on COCO (weight 20); DIoU: Zheng, Wang,
        Liu, Li, Ye, Ren, Distance-IoU Loss, AAAI 2020.
    """

    takes: ClassVar[str] = 'boxes'
    scalable: ClassVar[tuple[str, ...]] = ('diou_weight',)

    def __init__(self, *, diou_weight: float = 20.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_nonnegative(diou_weight=diou_weight)
        self.diou_weight = plain_number(diou_weight)

    def forward(
        self, student: Tensor, teacher: Tensor, student_boxes: Tensor, teacher_boxes: Tensor
    ) -> Tensor:
        """Loss of offsets and of boxes (corners in pixels), each ``(R, 4)``, scalar.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If shapes disagree.
        """
        check_tensors(
            student=student,
            teacher=teacher,
            student_boxes=student_boxes,
            teacher_boxes=teacher_boxes,
        )
        if student_boxes.shape != student.shape or teacher_boxes.shape != student.shape:
            raise ValueError(
                f'boxes must have the shape of the offsets {tuple(student.shape)}, '
                f'got {tuple(student_boxes.shape)} and {tuple(teacher_boxes.shape)}'
            )
        offsets = squared_offset_distance(student, teacher)
        with without_autocast(student):
            boxes = distance_iou_loss(*promote(student_boxes, teacher_boxes.detach()))
            return self.loss_weight * weighted_mean(offsets + self.diou_weight * boxes)
