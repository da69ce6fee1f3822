"""The loss of ReviewKD as a configurable module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import CONTEXT_GRIDS, hierarchical_context_loss
from wkd_det.functional.hierarchical_context import check_grids
from wkd_det.functional.number_check import check_nonnegative


@MODELS.register_module()
class HierarchicalContextLoss(nn.Module):
    """Squared difference of pyramids at several resolutions (ReviewKD).

    Args:
        grids: Cells along each axis of the pooled comparisons.
        loss_weight: Factor of the loss. Published for Faster R-CNN on COCO: 1.2 for R-101 to
            R-18, 2.0 for R-50 to MobileNetV2, 1.0 for R-101 to R-50.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.hierarchical_context_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, grids: Sequence[int] = CONTEXT_GRIDS, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_nonnegative(loss_weight=loss_weight)
        check_grids(grids)
        self.grids = tuple(grids)
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)`` leaves out."""
        return self.loss_weight * hierarchical_context_loss(
            student, teacher, grids=self.grids, mask=mask
        )
