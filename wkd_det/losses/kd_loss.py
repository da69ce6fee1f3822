"""KD as a configurable module."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import kd_loss
from wkd_det.functional.number_check import check_nonnegative, check_positive


@MODELS.register_module()
class KDLoss(nn.Module):
    """Kullback-Leibler divergence between class distributions, times the squared temperature.

    Args:
        temperature: Of both softmaxes.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.kd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'logits'

    def __init__(self, *, temperature: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        check_nonnegative(loss_weight=loss_weight)
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of logits ``(N, C)``, scalar; ``target`` is not looked at."""
        return self.loss_weight * kd_loss(
            student, teacher, temperature=self.temperature, weight=weight, avg_factor=avg_factor
        )
