"""Squared difference of box offsets."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import offset_loss
from wkd_det.functional.number_check import check_nonnegative


@MODELS.register_module()
class OffsetLoss(nn.Module):
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
