"""Wasserstein distance between the distributions of boxes' sides, in closed form."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import PlaceLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_positive, check_sides
from wkd_det.ops.line_transport import check_order, line_transport
from wkd_det.ops.logits import ready_logits, tempered


def box_wasserstein_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    order: int = 1,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Wasserstein distance of the distributions of each side of a box.

    .. math:: \tfrac{1}{S} \sum_{s=1}^{S} W_p^p(p^S_s, p^T_s), \quad p = softmax(z / T)

    over the :math:`S = 4` sides. A divergence compares the two probabilities of each bin and would
    not notice if the bins were shuffled; the transport knows that bins are distances, so a student
    that is off by one bin is less wrong than one that is off by ten. The distance is that of
    :func:`~wkd_det.ops.line_transport.line_transport`, exact and without iterations.

    Convention:
        - Mean over places and sides.
        - A bin is one stride of the place's level, so the result is in strides for order 1 and in
          squared strides for order 2, for small and large objects alike.
        - For order 1 the result is never below the distance between the two expected boxes, which
          are what the head predicts.
        - The teacher gets no gradient; equal distributions have the value 0 and a gradient of 0.

    Args:
        student: Logits of the bins of each side, shape ``(R, S, B)``; any floating type, computed
            in at least float32.
        teacher: Same shape.
        order: :math:`p`, 1 or 2 (the squared distance).
        temperature: :math:`T` > 0.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    Example:
        >>> import torch
        >>> student = torch.tensor([[[0.0, 0.0, -99.0]]])  # half at 0, half at 1 stride
        >>> teacher = torch.tensor([[[-99.0, -99.0, 0.0]]])  # all at 2 strides
        >>> box_wasserstein_loss(student, teacher)  # halves travel 2 and 1
        tensor(1.5000)
        >>> box_wasserstein_loss(student, teacher, order=2)
        tensor(2.5000)
    """
    check_sides(student, teacher)
    check_order(order)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, teacher = (
            tempered(logits, temperature).softmax(dim=2)
            for logits in ready_logits(student, teacher)
        )
        distance = line_transport(student, teacher, order=order).mean(dim=1)
        return weighted_mean(distance, weight, avg_factor)


class BoxWassersteinLoss(PlaceLoss):
    """Wasserstein distance of the distributions of the sides of boxes, in strides.

    Args:
        order: 1, or 2 for the squared distance.
        temperature: Temperature of both softmaxes, > 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.box_wasserstein_loss` for formula and conventions.
    """

    takes: ClassVar[str] = 'box_distributions'

    def __init__(
        self, *, order: int = 1, temperature: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        check_order(order)
        check_positive(temperature=temperature)
        super().__init__(box_wasserstein_loss, loss_weight, order=order, temperature=temperature)
