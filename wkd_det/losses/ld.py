"""LD: Kullback-Leibler divergence between the distributions of boxes' sides."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import PlaceLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_positive, check_sides
from wkd_det.ops.divergences import categorical_kl
from wkd_det.ops.logits import ready_logits, tempered


def ld_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 10.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Localization distillation: divergence of the distributions of each side of a box.

    .. math:: \tfrac{T^2}{S} \sum_{s=1}^{S} KL(p^T_s \Vert p^S_s), \quad p = softmax(z / T)

    over the :math:`S = 4` sides, whose distances from the place are distributed over bins.

    Convention:
        - Mean over places and sides, sum over bins. The loss of MMDetection's ``LDHead`` is the
          mean over bins too, so one of 17 bins is 17 times as small.
        - A divergence does not know how far apart two bins are:
          :func:`wkd_det.functional.box_wasserstein_loss` does.
        - The teacher gets no gradient.

    Args:
        student: Logits of the bins of each side, shape ``(R, S, B)``; any floating type, computed
            in at least float32.
        teacher: Same shape.
        temperature: :math:`T` > 0.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Zheng, Ye, Wang, Ren, Zuo, Hou, Cheng, Localization Distillation for Dense Object
        Detection, CVPR 2022.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[[1.0, 3.0]]]).log()  # 1/4, 3/4 on the only side
        >>> ld_loss(torch.zeros(1, 1, 2), teacher, temperature=1.0).round(decimals=4)
        tensor(0.1308)
    """
    check_sides(student, teacher)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, teacher = (
            tempered(logits, temperature).log_softmax(dim=2)
            for logits in ready_logits(student, teacher)
        )
        divergence = categorical_kl(teacher, student).mean(dim=1)
        return weighted_mean(temperature**2 * divergence, weight, avg_factor)


class LDLoss(PlaceLoss):
    """Localization distillation: divergence of the distributions of the sides of boxes.

    Args:
        temperature: Temperature of both softmaxes, > 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.ld_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'box_distributions'

    def __init__(self, *, temperature: float = 10.0, loss_weight: float = 1.0) -> None:
        check_positive(temperature=temperature)
        super().__init__(ld_loss, loss_weight, temperature=temperature)
