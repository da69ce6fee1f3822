"""What the losses on feature maps have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from wkd_det.ops.checks import check_nonnegative


class FeatureLoss(nn.Module):
    """A function of the student's and the teacher's feature maps, times a weight.

    Args:
        function: Takes both maps and the keywords ``mask``, ``weight`` and ``avg_factor``;
            returns a scalar.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    takes: ClassVar[str] = 'features'

    def __init__(self, function: Callable[..., Tensor], loss_weight: float) -> None:
        super().__init__()
        check_nonnegative(loss_weight=loss_weight)
        self.function = function
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)`` leaves out."""
        return self.loss_weight * self.function(
            student, teacher, mask=mask, weight=weight, avg_factor=avg_factor
        )
