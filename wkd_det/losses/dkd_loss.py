"""DKD as a configurable module."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import dkd_loss
from wkd_det.functional.number_check import check_nonnegative, check_positive


@MODELS.register_module()
class DKDLoss(nn.Module):
    """Decoupled knowledge distillation: target against the rest, and among the rest.

    Args:
        alpha: Weight of the target part.
        beta: Weight of the part among the other classes.
        temperature: Of all softmaxes.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.dkd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'logits'
    scalable: ClassVar[tuple[str, ...]] = ('alpha', 'beta')

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        check_nonnegative(alpha=alpha, beta=beta, loss_weight=loss_weight)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of logits ``(N, C)`` with the class ``target`` ``(N,)`` of each, scalar."""
        return self.loss_weight * dkd_loss(
            student,
            teacher,
            target,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            weight=weight,
            avg_factor=avg_factor,
        )
