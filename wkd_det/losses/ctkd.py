"""CTKD: a temperature that is trained against the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from wkd_det import registry
from wkd_det.losses.base import LogitLoss, Loss
from wkd_det.ops.checks import check_nonnegative, check_positive, plain_number


class CTKDLoss(Loss):
    r"""A loss of logits whose temperature is a parameter that makes the loss larger (CTKD).

    .. math:: \tau = t_{start} + t_{end} \, \sigma(\theta)

    One :math:`\theta`, 1 at the start, for all samples: the "global" temperature of the paper; the
    code of the one per instance is not published. It is trained with the student, through the
    temperature and through the factor :math:`\tau^2` of the loss, and its gradient is reversed.

    Convention:
        - The gradient of :math:`\theta` is multiplied by minus ``reversal``. The authors let that
          factor grow from 0 to 1 over the first 10 epochs of CIFAR-100 and 5 of ImageNet:
          ``TermScheduleHook(terms=['loss_kd.reversal'], warm_up=10, ramp='cosine')``.
        - Momentum and weight decay of :math:`\theta` are those of the optimizer, as theirs are.

    Args:
        loss: Config of the loss, without a ``temperature``: ``KDLoss``, ``DKDLoss`` or another of
            logits that has one.
        reversal: Strength of the reversal, >= 0; at 0 the temperature is not trained.
        t_start: Lowest temperature, > 0.
        t_end: Range above it, > 0, so that the highest is the sum of both, as in the code.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        TypeError: If ``loss`` is no config.
        ValueError: If a number is outside its range, or the loss has no temperature or sets one.

    References: Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023.
    """

    takes: ClassVar[str] = 'logits'
    scalable: ClassVar[tuple[str, ...]] = ('reversal',)

    def __init__(
        self,
        *,
        loss: Mapping[str, Any] | None = None,
        reversal: float = 1.0,
        t_start: float = 1.0,
        t_end: float = 20.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_nonnegative(reversal=reversal)
        check_positive(t_start=t_start, t_end=t_end)
        self.loss = _wrapped(dict(type='KDLoss') if loss is None else loss)
        self.needs = self.loss.needs
        self.reversal = plain_number(reversal)
        self.t_start = plain_number(t_start)
        self.t_end = plain_number(t_end)
        self.theta = nn.Parameter(torch.ones(()))

    @property
    def temperature(self) -> Tensor:
        """The temperature, a scalar whose gradient arrives reversed at ``theta``."""
        theta = _Reversal.apply(self.theta, self.reversal)
        return self.t_start + self.t_end * theta.sigmoid()

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """Loss of logits ``(N, C)``, scalar; ``target`` where the wrapped loss takes it."""
        tensors = self.loss.tensors(student, teacher, target)
        return self.loss_weight * self.loss.call(*tensors, temperature=self.temperature)


def _wrapped(config: Mapping[str, Any]) -> LogitLoss:
    if not isinstance(config, Mapping):
        raise TypeError(f'loss must be a dict with a type, got {config!r}')
    if 'temperature' in config:
        raise ValueError(
            f'CTKDLoss trains the temperature: leave temperature={config["temperature"]!r} out of '
            'its loss'
        )
    loss = registry.build(config)
    if not isinstance(loss, LogitLoss) or 'temperature' not in loss.option_names:
        raise ValueError(
            'CTKDLoss needs a loss of logits with a temperature, such as KDLoss or DKDLoss, got '
            f'{type(loss).__name__}'
        )
    if not loss.needs_teacher or not set(loss.needs) <= {'target'}:
        raise ValueError(f'CTKDLoss needs a loss of two networks, got {type(loss).__name__}')
    return loss


class _Reversal(torch.autograd.Function):
    """The same value; the gradient times minus a factor."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * grad, None
