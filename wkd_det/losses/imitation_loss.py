"""The loss of fine-grained feature imitation as a configurable module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import imitation_loss
from wkd_det.functional.number_check import check_nonnegative


@MODELS.register_module()
class ImitationLoss(nn.Module):
    """Squared distance of feature vectors at the pixels of a mask (FGFI).

    Args:
        loss_weight: Factor of the loss; 0.01 is the default of the published code.

    Raises:
        ValueError: If it is negative.

    See :func:`wkd_det.functional.imitation_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, loss_weight: float = 0.01) -> None:
        super().__init__()
        check_nonnegative(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: where."""
        return self.loss_weight * imitation_loss(student, teacher, mask=mask)
