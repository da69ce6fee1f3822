"""The box term of WKD."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import squared_offset_distance
from wkd_det.functional.number_check import check_nonnegative
from wkd_det.functional.precision import promote, without_autocast
from wkd_det.functional.reduction import weighted_mean


@MODELS.register_module()
class BoxLoss(nn.Module):
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
