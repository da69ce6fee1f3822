"""KD and DKD: Kullback-Leibler divergences between class distributions."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_nonnegative, check_positive
from wkd_det.ops.divergences import categorical_kl
from wkd_det.ops.logits import hard_target, of_target, ready_logits, without_target


def kd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    standardize: bool = False,
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
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
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
        student, teacher = ready_logits(student, teacher, standardize)
        divergence = categorical_kl(
            (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)
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
    standardize: bool = False,
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
            Soft labels, shape ``(N, C)``, stand for their most probable class.
        alpha: Weight of the target part, >= 0.
        beta: Weight of the other part, >= 0.
        temperature: :math:`T` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
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
    index = hard_target(target, student, 'DKD')
    check_positive(temperature=temperature)
    check_nonnegative(alpha=alpha, beta=beta)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        student_binary, student_others = _decoupled(student / temperature, index)
        teacher_binary, teacher_others = _decoupled(teacher / temperature, index)
        target_part = categorical_kl(teacher_binary, student_binary)
        other_part = categorical_kl(teacher_others, student_others)
        per_sample = temperature**2 * (alpha * target_part + beta * other_part)
        return weighted_mean(per_sample, weight, avg_factor)


def _decoupled(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of target and rest, ``(N, 2)``, and of the others ``(N, C - 1)``."""
    others = without_target(logits, index)
    binary = torch.stack([of_target(logits, index), others.logsumexp(dim=1)], dim=1)
    return binary.log_softmax(dim=1), others.log_softmax(dim=1)


class KDLoss(LogitLoss):
    """Kullback-Leibler divergence between class distributions, times the squared temperature.

    Args:
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.kd_loss` for formula, conventions and source.
    """

    def __init__(
        self, *, temperature: float = 1.0, standardize: bool = False, loss_weight: float = 1.0
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        super().__init__(kd_loss, loss_weight, temperature=temperature, standardize=standardize)


class DKDLoss(LogitLoss):
    """Decoupled knowledge distillation: target against the rest, and among the rest.

    Args:
        alpha: Weight of the target part, >= 0.
        beta: Weight of the part among the other classes, >= 0.
        temperature: Temperature of all softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.dkd_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)
    scalable: ClassVar[tuple[str, ...]] = ('alpha', 'beta')

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 1.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        check_nonnegative(alpha=alpha, beta=beta)
        super().__init__(
            dkd_loss,
            loss_weight,
            alpha=alpha,
            beta=beta,
            temperature=temperature,
            standardize=standardize,
        )
