"""Distillation of heads with a sigmoid for each class: binary KD, and CrossKD's quality focal."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import PlaceLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_logits, check_nonnegative, check_positive
from wkd_det.ops.logits import ready_logits, tempered


def sigmoid_kd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Divergence of the probabilities that each class is there: KD for sigmoids.

    .. math:: T^2 \sum_k \left[ p^T_k \log \frac{p^T_k}{p^S_k}
        + (1 - p^T_k) \log \frac{1 - p^T_k}{1 - p^S_k} \right], \quad p = \sigma(z / T)

    Its gradient is that of the binary cross entropy with the teacher, :math:`T (p^S_k - p^T_k)`;
    its value is 0 where both agree.

    Convention:
        - Mean over places, sum over classes.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(R, K)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(R, K)``.
        temperature: :math:`T` > 0.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: binary distillation of dense heads: Yang, Zhou, Liu, Zhang, Shu, Xu, Bridging
        Cross-task Protocol Inconsistency for Distillation in Dense Object Detection (BCKD), ICCV
        2023, whose weights are :func:`quality_focal_kd_loss` with ``beta=1``.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[3.0]]).log()  # 3/4 that the class is there
        >>> sigmoid_kd_loss(torch.zeros(1, 1), teacher).round(decimals=4)  # log 2 - H(1/4)
        tensor(0.1308)
    """
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, teacher = (tempered(z, temperature) for z in ready_logits(student, teacher))
        # p log p + (1 - p) log (1 - p) less the same with the student's logarithms; with
        # log(1 - p) = log p - z the two are log p - (1 - p) z.
        absent = (-teacher).sigmoid()
        divergence = (F.logsigmoid(teacher) - F.logsigmoid(student)) - absent * (teacher - student)
        return weighted_mean(temperature**2 * divergence.sum(dim=1), weight, avg_factor)


def quality_focal_kd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Quality focal loss with the teacher's probabilities as targets, as CrossKD has it.

    .. math:: \sum_k |p^S_k - p^T_k|^\beta
        \left[ -p^T_k \log p^S_k - (1 - p^T_k) \log (1 - p^S_k) \right], \quad p = \sigma(z)

    Classes on which both agree, nearly all at nearly all places, hardly count.

    Convention:
        - Mean over places, sum over classes. CrossKD divides the sum by the number of the
          student's positives: ``average='positives'`` of the tap.
        - The gradient runs through the factor too, as in the authors' code.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(R, K)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(R, K)``.
        beta: :math:`\beta`, 0 or at least 1: in between the gradient has no bound where both
            agree.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Wang, Chen, Zheng, Li, Cheng, Hou, CrossKD: Cross-Head Knowledge Distillation for
        Object Detection, CVPR 2024; the loss: Li et al., Generalized Focal Loss, NeurIPS 2020.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[3.0]]).log()  # 3/4 that the class is there
        >>> quality_focal_kd_loss(torch.zeros(1, 1), teacher).round(decimals=4)  # log 2 / 4
        tensor(0.1733)
    """
    check_logits(student, teacher)
    check_beta(beta)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher)
        target = teacher.sigmoid()
        loss = F.binary_cross_entropy_with_logits(student, target, reduction='none')
        if beta:
            apart = (student.sigmoid() - target).abs()
            loss = loss * (apart if beta == 1 else apart.pow(beta))
        return weighted_mean(loss.sum(dim=1), weight, avg_factor)


def check_beta(beta: float) -> None:
    """Raise if an exponent is neither 0 nor at least 1.

    Raises:
        ValueError: With the value.
    """
    check_nonnegative(beta=beta)
    if 0 < beta < 1:
        raise ValueError(f'beta must be 0 or at least 1, got {beta}')


class SigmoidKDLoss(PlaceLoss):
    """Divergence of the probabilities that each class is there, times the squared temperature.

    Args:
        temperature: Temperature of both sigmoids, > 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.sigmoid_kd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'dense_logits'

    def __init__(self, *, temperature: float = 1.0, loss_weight: float = 1.0) -> None:
        check_positive(temperature=temperature)
        super().__init__(sigmoid_kd_loss, loss_weight, temperature=temperature)


class QualityFocalKDLoss(PlaceLoss):
    """Quality focal loss with the teacher's probabilities as targets.

    Args:
        beta: Exponent of the difference of the probabilities, 0 or at least 1.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.quality_focal_kd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'dense_logits'

    def __init__(self, *, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        check_beta(beta)
        super().__init__(quality_focal_kd_loss, loss_weight, beta=beta)
