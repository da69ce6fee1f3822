"""VID: the teacher's maps as Gaussians whose mean the student predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import (
    check_booleans,
    check_integers,
    check_maps,
    check_positive,
    check_tensors,
    level_masks,
    plain_number,
)
from wkd_det.ops.maps import mean_per_image, on_common_grid, without_padding


def vid_loss(
    student: Tensor,
    teacher: Tensor,
    log_scale: Tensor,
    *,
    eps: float = 1e-5,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Negative log-likelihood of the teacher's map under Gaussians, without its constant.

    .. math::
        \tfrac12 \Bigl( \frac{(f_T - \mu)^2}{v_c} + \log v_c \Bigr), \qquad
        v_c = \log(1 + e^{s_c}) + \epsilon

    with the mean :math:`\mu` predicted from the student's map and one variance per channel: a bound
    of the mutual information (variational information distillation).

    Convention:
        - Mean over channels and the pixels that count, mean over images. It may be negative.
        - The teacher gets no gradient.

    Args:
        student: Predicted means, shape ``(N, C, H, W)``; any floating type, computed in at least
            float32.
        teacher: Same shape.
        log_scale: :math:`s`, shape ``(C,)``.
        eps: Least variance, > 0.
        mask: Bool, shape ``(N, H, W)``: pixels that count.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``eps`` is not positive.

    References: Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR
        2019, whose variance has no ``eps``; numbers are those of RepDistiller.

    Example:
        >>> student, scale = torch.zeros(1, 2, 3, 3), torch.zeros(2)  # v = log 2
        >>> vid_loss(student, student, scale).round(decimals=4)  # log(log 2) / 2
        tensor(-0.1832)
    """
    check_maps(student, teacher, mask)
    check_tensors(log_scale=log_scale)
    check_positive(eps=eps)
    if log_scale.shape != student.shape[1:2]:
        raise ValueError(
            f'log_scale must have one number for each of {student.shape[1]} channels, '
            f'got the shape {tuple(log_scale.shape)}'
        )
    with without_autocast(student):
        student, teacher, log_scale = promote(student, teacher.detach(), log_scale)
        change = without_padding(student, mask) - without_padding(teacher, mask)
        variance = (F.softplus(log_scale) + eps)[:, None, None]
        likelihood = (change.square() / variance + variance.log()) / 2
        return weighted_mean(mean_per_image(likelihood, mask), weight, avg_factor)


class VIDLoss(Loss):
    """Negative log-likelihood of the teacher's maps under predicted Gaussians (VID).

    Each stage has a network of its own that predicts the mean, three 1 x 1 convolutions without
    bias and with ReLUs between, and a variance per channel. They are trained with the student,
    the logarithmic scales with its weight decay, as in RepDistiller. (mdistiller keeps the scales
    in a plain list, so they are never trained and the variances stay 5: ``train_scales=False``.)
    The larger of two maps is averaged over the cells of the smaller one's grid first.

    Args:
        student_channels: Width of the student's map at each stage; set by the tap.
        teacher_channels: Width of the teacher's maps; set by the tap.
        init_pred_var: Variance at the start, above ``eps``.
        eps: Least variance, > 0.
        train_scales: Whether the variances are trained.
        loss_weight: Factor of the sum over the stages, >= 0; 1 in the protocol of CRD.

    Raises:
        ValueError: If an option is outside its range, or the widths are of different numbers.

    See :func:`wkd_det.functional.vid_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        init_pred_var: float = 5.0,
        eps: float = 1e-5,
        train_scales: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(train_scales=train_scales)
        super().__init__(loss_weight)
        check_positive(eps=eps, init_pred_var=init_pred_var)
        if not init_pred_var > eps:
            raise ValueError(f'init_pred_var must be above eps, got {init_pred_var} and {eps}')
        if len(student_channels) != len(teacher_channels):
            raise ValueError(
                'student_channels and teacher_channels must name the same number of stages, got '
                f'{len(student_channels)} and {len(teacher_channels)}'
            )
        self.eps = plain_number(eps)
        start = math.log(math.expm1(plain_number(init_pred_var) - self.eps))
        self.regressors = nn.ModuleList(map(_regressor, student_channels, teacher_channels))
        self.log_scales = nn.ParameterList(
            nn.Parameter(torch.full((width,), start), requires_grad=train_scales)
            for width in teacher_channels
        )

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Sum over stages; maps, each ``(N, C, H, W)``; ``mask``: pixels, each ``(N, H, W)``."""
        masks = level_masks(student, teacher, mask, same_size=mask is not None, same_width=False)
        total = 0.0
        for own, other, inside, regressor, log_scale in zip(
            student, teacher, masks, self.regressors, self.log_scales
        ):
            with without_autocast(own):
                own, other = promote(own, other.detach())
                own, other, inside = on_common_grid(own, other, inside)
                mean = regressor(own.to(log_scale))
            total = total + vid_loss(mean, other, log_scale, eps=self.eps, mask=inside)
        return self.loss_weight * total


def _regressor(student_channels: int, teacher_channels: int) -> nn.Sequential:
    check_integers(student_channels=student_channels, teacher_channels=teacher_channels)
    own, width = int(student_channels), int(teacher_channels)
    return nn.Sequential(
        nn.Conv2d(own, width, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(width, width, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(width, width, 1, bias=False),
    )
