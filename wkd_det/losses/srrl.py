"""SRRL: the student's features, seen by the teacher's classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.losses.vectors import pixel_mean
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_maps, check_nonnegative, check_tensors, plain_number


def srrl_loss(
    student: Tensor,
    teacher: Tensor,
    teacher_head: Callable[[Tensor], Tensor],
    teacher_logits: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Distance of pooled features, and of what the teacher's classifier makes of them.

    .. math::
        \frac{\alpha}{N D} \sum (\bar f_S - \bar f_T)^2
        + \frac{\beta}{N K} \sum (h_T(\bar f_S) - z_T)^2

    with :math:`\bar f` the mean of a map over its pixels, :math:`h_T` the teacher's classifier and
    :math:`z_T` its logits: softmax regression representation learning.

    Convention:
        - Means over images and over channels or classes.
        - The classifier passes a gradient on to the student; neither it nor the teacher gets one.
        - The sizes of the maps may differ.

    Args:
        student: Shape ``(N, D, H, W)``, after a connector; any floating type.
        teacher: Shape ``(N, D, H', W')``.
        teacher_head: From vectors ``(N, D)`` to logits ``(N, K)``; its parameters should be frozen.
        teacher_logits: Shape ``(N, K)``, classes in the order of the head's.
        alpha: Factor of the features, >= 0.
        beta: Factor of the logits, >= 0; 1 on ImageNet, 5 on CIFAR-100.
        mask: Bool, shape ``(N, H, W)``: pixels that count; sizes are equal then.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is negative.

    References: Yang, Martinez, Bulat, Tzimiropoulos, Knowledge Distillation via Softmax
        Regression Representation Learning, ICLR 2021; both parts as in the code of CTKD and of
        NKD, with squared differences of the logits.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 2, 3, 3)
        >>> logits = torch.tensor([[3.0]])  # of the student: 0
        >>> srrl_loss(student, student + 2, lambda vectors: vectors.sum(1, True), logits)
        tensor(13.)
    """
    check_maps(student, teacher, mask, same_size=mask is not None)
    check_tensors(teacher_logits=teacher_logits)
    check_nonnegative(alpha=alpha, beta=beta)
    with without_autocast(student):
        student, teacher = promote(pixel_mean(student, mask), pixel_mean(teacher.detach(), mask))
        logits, target = promote(teacher_head(student), teacher_logits.detach())
        if logits.shape != target.shape:
            raise ValueError(
                'teacher_head must give logits of the shape of teacher_logits, got '
                f'{tuple(logits.shape)} and {tuple(target.shape)}'
            )
        return alpha * _mean_square(student - teacher) + beta * _mean_square(logits - target)


def _mean_square(change: Tensor) -> Tensor:
    return change.square().mean() if change.numel() else change.sum()


class SRRLLoss(Loss):
    """Distance of pooled features and of the teacher's logits for them (SRRL).

    The published connector is ``ConvConnector(act_cfg=dict(type='ReLU'))`` on the last map.

    Args:
        alpha: Factor of the features, >= 0.
        beta: Factor of the logits, >= 0; 1 on ImageNet, 5 on CIFAR-100.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is negative.

    See :func:`wkd_det.functional.srrl_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'
    needs: ClassVar[tuple[str, ...]] = ('teacher_head', 'teacher_logits')

    def __init__(self, *, alpha: float = 1.0, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_nonnegative(alpha=alpha, beta=beta)
        self.alpha, self.beta = plain_number(alpha), plain_number(beta)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        teacher_head: Callable[[Tensor], Tensor],
        teacher_logits: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: which count."""
        return self.loss_weight * srrl_loss(
            student,
            teacher,
            teacher_head,
            teacher_logits,
            alpha=self.alpha,
            beta=self.beta,
            mask=mask,
        )
