"""NKD: the target class and the others apart, by cross entropies."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_nonnegative, check_positive
from wkd_det.ops.divergences import categorical_cross_entropy
from wkd_det.ops.logits import hard_target, ready_logits, target_loss, without_target


def nkd_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    gamma: float = 1.5,
    temperature: float = 1.0,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Normalised knowledge distillation: the target class, and the distribution over the others.

    .. math::
        L = -p^T_t \log p^S_t - \gamma T^2 \sum_{k \ne t} \hat p^T_k \log \hat p^S_k

    with :math:`p = softmax(z)` and :math:`\hat p` the softmax at temperature :math:`T` over the
    other classes alone. The first part is that of WKD-L.

    Convention:
        - Cross entropies and no divergences, so equal logits do not give 0.
        - The part of the target is at temperature 1, whatever ``temperature`` is.
        - Mean over samples. The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, in ``[0, C)``; in a detector, background is a class.
            Soft labels, shape ``(N, C)``, stand for their most probable class, as in the code.
        gamma: Weight of the other classes, >= 0.
        temperature: :math:`T` > 0 of the other classes.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` does not fit the
            logits, or there is only one class.

    References: Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A Unified
        Approach with Normalized Loss and Customized Soft Labels, ICCV 2023; the defaults are those
        of its ImageNet experiments (CIFAR-100: temperature 3, gamma 3.5).
    """
    check_logits(student, teacher)
    index = hard_target(target, student, 'NKD')
    check_positive(temperature=temperature)
    check_nonnegative(gamma=gamma)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        others = categorical_cross_entropy(
            (without_target(teacher, index) / temperature).softmax(dim=1),
            (without_target(student, index) / temperature).log_softmax(dim=1),
        )
        per_sample = target_loss(student, teacher, index) + gamma * temperature**2 * others
        return weighted_mean(per_sample, weight, avg_factor)


class NKDLoss(LogitLoss):
    """Normalised knowledge distillation: the target class, and the distribution over the others.

    Args:
        gamma: Weight of the other classes, >= 0.
        temperature: Temperature of the other classes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.nkd_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)
    scalable: ClassVar[tuple[str, ...]] = ('gamma',)

    def __init__(
        self,
        *,
        gamma: float = 1.5,
        temperature: float = 1.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        check_nonnegative(gamma=gamma)
        super().__init__(
            nkd_loss, loss_weight, gamma=gamma, temperature=temperature, standardize=standardize
        )
