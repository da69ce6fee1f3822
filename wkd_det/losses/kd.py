"""KD and DKD: Kullback-Leibler divergences between class distributions."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import (
    check_logits,
    check_nonnegative,
    check_positive,
    check_target,
    plain_number,
)


def kd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Kullback-Leibler divergence of class distributions: knowledge distillation on logits.

    .. math:: T^2 \, KL(p^T \Vert p^S), \quad p = softmax(z / T)

    Convention:
        - Mean over samples, sum over classes.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        temperature: :math:`T` > 0. The factor :math:`T^2` keeps the size of the gradient.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015.

    Example:
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]).log()  # 1/4, 3/4
        >>> kd_loss(student, teacher, temperature=1.0).round(decimals=4)  # log 2 - H(1/4)
        tensor(0.1308)
    """
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        divergence = _divergence(
            (student / temperature).log_softmax(dim=1), (teacher / temperature).log_softmax(dim=1)
        )
        return weighted_mean(temperature**2 * divergence, weight, avg_factor)


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 0.25,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Decoupled knowledge distillation on logits: target against the rest, and among the rest.

    .. math:: T^2 (\alpha \, KL(b^T \Vert b^S) + \beta \, KL(\hat p^T \Vert \hat p^S))

    with :math:`b = (p_t, 1 - p_t)` of target and rest, :math:`p = softmax(z / T)`, and
    :math:`\hat p` the distribution over the other classes alone. KD is
    :math:`\alpha = 1, \beta = 1 - p^T_t`.

    Convention:
        - Mean over samples, sum over classes.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, in ``[0, C)``; in a detector, background is a class.
        alpha: Weight of the target part, >= 0.
        beta: Weight of the other part, >= 0.
        temperature: :math:`T` > 0.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` holds no integers
            or an index outside ``[0, C)``, or there is only one class.

    References: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022; the defaults are those
        of its Faster R-CNN.
    """
    check_logits(student, teacher)
    check_target(target, student, 'DKD')
    check_positive(temperature=temperature)
    check_nonnegative(alpha=alpha, beta=beta)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        is_target = F.one_hot(target.long(), student.shape[1]).bool()
        student_binary, student_others = _decoupled(student / temperature, is_target)
        teacher_binary, teacher_others = _decoupled(teacher / temperature, is_target)
        target_part = _divergence(student_binary, teacher_binary)
        other_part = _divergence(student_others, teacher_others)
        per_sample = temperature**2 * (alpha * target_part + beta * other_part)
        return weighted_mean(per_sample, weight, avg_factor)


def _decoupled(logits: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of target and rest, ``(N, 2)``, and of the others, ``(N, C)``."""
    others = logits.masked_fill(is_target, -torch.inf)
    binary = torch.stack([logits[is_target], others.logsumexp(dim=1)], dim=1)
    return binary.log_softmax(dim=1), others.log_softmax(dim=1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """``KL(teacher || student)`` of logarithms, ``(N, C)`` to ``(N,)``; -inf on both sides is 0."""
    nothing = teacher == -torch.inf
    difference = teacher.masked_fill(nothing, 0) - student.masked_fill(nothing, 0)
    return (teacher.exp() * difference).sum(dim=1)


class KDLoss(Loss):
    """Kullback-Leibler divergence between class distributions, times the squared temperature.

    Args:
        temperature: Temperature of both softmaxes, > 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.kd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'logits'

    def __init__(self, *, temperature: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_positive(temperature=temperature)
        self.temperature = plain_number(temperature)

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """Loss of logits ``(N, C)``, scalar; ``target`` is not used."""
        return self.loss_weight * kd_loss(student, teacher, temperature=self.temperature)


class DKDLoss(Loss):
    """Decoupled knowledge distillation: target against the rest, and among the rest.

    Args:
        alpha: Weight of the target part, >= 0.
        beta: Weight of the part among the other classes, >= 0.
        temperature: Temperature of all softmaxes, > 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.dkd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'logits'
    needs = ('target',)
    scalable: ClassVar[tuple[str, ...]] = ('alpha', 'beta')

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_positive(temperature=temperature)
        check_nonnegative(alpha=alpha, beta=beta)
        self.alpha = plain_number(alpha)
        self.beta = plain_number(beta)
        self.temperature = plain_number(temperature)

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(N, C)`` with the class ``target`` ``(N,)`` of each, scalar."""
        return self.loss_weight * dkd_loss(
            student,
            teacher,
            target,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
        )
