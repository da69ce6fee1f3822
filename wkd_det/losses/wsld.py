"""WSLD: soft labels weighted by how well each sample is learned already."""

from __future__ import annotations

import torch
from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_nonnegative, check_positive
from wkd_det.ops.divergences import categorical_cross_entropy
from wkd_det.ops.logits import hard_target, of_target, ready_logits

_GUARD = 1e-7  # of the teacher's cross entropy; the reference's value


def wsld_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.5,
    temperature: float = 2.0,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Weighted soft label distillation: less of it where the student knows the label better.

    .. math::
        L = -\alpha T^2 \, w \sum_k p^T_k \log p^S_k, \qquad
        w = 1 - \exp(-\frac{\ell^S}{\ell^T + 10^{-7}})

    with :math:`p = softmax(z / T)` and :math:`\ell` the cross entropies of the label at temperature
    1. A sample that the student has learned and the teacher has not gets the weight 0.

    Convention:
        - Cross entropy and no divergence, so equal logits do not give 0.
        - Mean over samples. Neither the teacher nor :math:`w` gets a gradient.
        - The authors run the teacher in training mode; here it is what its logits are.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Soft labels, shape ``(N, C)``, stand
            for their most probable class; the authors have none.
        alpha: :math:`\alpha` >= 0.
        temperature: :math:`T` > 0.
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

    References: Zhou et al., Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance
        Tradeoff Perspective, ICLR 2021; the defaults are those of its ImageNet experiments
        (CIFAR-100: temperature 4, alpha 2.25).
    """
    check_logits(student, teacher)
    index = hard_target(target, student, 'WSLD')
    check_positive(temperature=temperature)
    check_nonnegative(alpha=alpha)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        with torch.no_grad():
            own, other = (-of_target(one.log_softmax(dim=1), index) for one in (student, teacher))
            learned = (-(own / (other + _GUARD)).clamp(min=0)).exp()
        entropy = categorical_cross_entropy(
            (teacher / temperature).softmax(dim=1), (student / temperature).log_softmax(dim=1)
        )
        per_sample = alpha * temperature**2 * (1 - learned) * entropy
        return weighted_mean(per_sample, weight, avg_factor)


class WSLDLoss(LogitLoss):
    """Weighted soft label distillation: less of it where the student knows the label better.

    Args:
        alpha: Factor of the reference, >= 0.
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.wsld_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)

    def __init__(
        self,
        *,
        alpha: float = 2.5,
        temperature: float = 2.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        check_nonnegative(alpha=alpha)
        super().__init__(
            wsld_loss, loss_weight, alpha=alpha, temperature=temperature, standardize=standardize
        )
