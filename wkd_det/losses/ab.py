"""AB: on which side of zero each neuron is, before the ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_nonnegative, level_masks, plain_number
from wkd_det.ops.maps import without_padding


def ab_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    margin: float = 1.0,
    mask: Sequence[Tensor | None] | None = None,
) -> Tensor:
    r"""Squared hinge of activation boundaries: is a neuron active where the teacher's is?

    At stage :math:`i` of :math:`n`, with the margin :math:`m`,

    .. math::
        2^{-(n - 1 - i)} \frac3{1000 N} \sum
        (s + m)^2 \, [s > -m, t \le 0] + (s - m)^2 \, [s \le m, t > 0]

    Convention:
        - Sum over channels and the pixels that count, mean over images, sum over stages.
        - The teacher, of which only the signs count, gets no gradient.

    Args:
        student: Maps before the ReLU from the first stage to the last, after connectors, each
            ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Maps of the same shapes, before the ReLU.
        margin: :math:`m`, >= 0.
        mask: Bool, each ``(N, H, W)``: pixels that count; None for all.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a level is no tensor, or one tensor stands for all levels.
        ValueError: If levels or shapes disagree or ``margin`` is negative.

    References: Heo, Lee, Yun, Choi, Knowledge Transfer via Distillation of Activation Boundaries
        Formed by Hidden Neurons, AAAI 2019; factors are those of RepDistiller.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([1.0, -1.0, -1.0]).view(1, 1, 1, 3)
        >>> student = torch.tensor([0.0, 1.0, -2.0]).view(1, 1, 1, 3)
        >>> ab_loss([student], [teacher])  # (1^2 + 2^2 + 0) * 3 / 1000
        tensor(0.0150)
    """
    masks = level_masks(student, teacher, mask)
    check_nonnegative(margin=margin)
    total = 0.0
    for stage, (own, other, inside) in enumerate(zip(student, teacher, masks)):
        with without_autocast(own):
            own, other = promote(own, other.detach())
            own = without_padding(own, inside)  # padding may hold anything, also inf
            inactive = (own + margin).square() * ((own > -margin) & (other <= 0))
            active = (own - margin).square() * ((own <= margin) & (other > 0))
            square = without_padding(inactive + active, inside)
            factor = 2.0 ** (stage + 1 - len(student))
            total = total + factor * square.sum() / max(len(own), 1)
    return total * 3 / 1000


class ABLoss(Loss):
    """Squared hinge of activation boundaries (AB).

    Taps are the inputs of the ReLUs, the published connector is ``ConvConnector()`` at each stage.
    The reference trains the student by it alone for the first 30 epochs of CIFAR-100 and then by
    the cross entropy alone: a run with ``ce_weight=0`` whose checkpoint the next one loads.

    Args:
        margin: Distance from zero that is asked for, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is negative.

    See :func:`wkd_det.functional.ab_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, margin: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_nonnegative(margin=margin)
        self.margin = plain_number(margin)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask``: pixels, each ``(N, H, W)``."""
        return self.loss_weight * ab_loss(student, teacher, margin=self.margin, mask=mask)
