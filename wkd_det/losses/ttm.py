"""TTM and WTTM: the teacher's distribution raised to a power, the student's left as it is."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_positive
from wkd_det.ops.divergences import categorical_kl
from wkd_det.ops.logits import ready_logits


def ttm_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    exponent: float = 0.1,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Transformed teacher matching: divergence from a softened teacher to the student itself.

    .. math:: L = KL(q \Vert p^S), \quad q_k \propto (p^T_k)^g, \quad p = softmax(z)

    Since :math:`q = softmax(g z^T)`, the exponent is one over a temperature of the teacher alone.

    Convention:
        - The student has no temperature, and there is no factor :math:`1 / g^2`.
        - Mean over samples. The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        exponent: :math:`g` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Zheng, Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR
        2024.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[1.0, 9.0]]).log()
        >>> ttm_loss(student, teacher, exponent=0.5).round(decimals=4)  # q = 1/4, 3/4
        tensor(0.1308)
    """
    per_sample, _ = _matched(student, teacher, exponent, standardize)
    return weighted_mean(per_sample, weight, avg_factor)


def wttm_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    exponent: float = 0.2,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Weighted transformed teacher matching: more of it where the teacher is unsure.

    .. math:: L = U \, KL(q \Vert p^S), \quad U = \sum_k (p^T_k)^g, \quad q_k = (p^T_k)^g / U

    For :math:`g < 1` the power sum :math:`U` lies between 1, of a teacher that is certain, and
    :math:`C^{1 - g}`.

    Convention:
        - The student has no temperature, and there is no factor :math:`1 / g^2`.
        - Mean over samples: the sum of the weights :math:`U` is not divided by.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        exponent: :math:`g` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Zheng, Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR
        2024.
    """
    per_sample, power_sum = _matched(student, teacher, exponent, standardize)
    return weighted_mean(power_sum * per_sample, weight, avg_factor)


def _matched(
    student: Tensor, teacher: Tensor, exponent: float, standardize: bool
) -> tuple[Tensor, Tensor]:
    """Return the divergence and the power sum of each sample, both ``(N,)``."""
    check_logits(student, teacher)
    check_positive(exponent=exponent)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        powers = exponent * teacher.log_softmax(dim=1)
        divergence = categorical_kl(powers.log_softmax(dim=1), student.log_softmax(dim=1))
        return divergence, powers.logsumexp(dim=1).exp()


class TTMLoss(LogitLoss):
    """Transformed teacher matching: divergence from a softened teacher to the student itself.

    Args:
        exponent: Power of the teacher's probabilities, > 0: one over a temperature.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.ttm_loss` for formula, conventions and source.
    """

    def __init__(
        self, *, exponent: float = 0.1, standardize: bool = False, loss_weight: float = 1.0
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(exponent=exponent)
        super().__init__(ttm_loss, loss_weight, exponent=exponent, standardize=standardize)


class WTTMLoss(LogitLoss):
    """Weighted transformed teacher matching: more of it where the teacher is unsure.

    Args:
        exponent: Power of the teacher's probabilities, > 0: one over a temperature.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.wttm_loss` for formula, conventions and source.
    """

    def __init__(
        self, *, exponent: float = 0.2, standardize: bool = False, loss_weight: float = 1.0
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(exponent=exponent)
        super().__init__(wttm_loss, loss_weight, exponent=exponent, standardize=standardize)
