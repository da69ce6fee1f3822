"""FGFI: imitation of the teacher's features near objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import level_masks


def imitation_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    mask: Sequence[Tensor | None] | None = None,
) -> Tensor:
    r"""Squared distance of the feature vectors at the pixels to imitate.

    .. math::
        L = \frac{1}{2 N_p} \sum_{i} I_i \, \lVert S_i - T_i \rVert^2, \qquad N_p = \sum_i I_i

    over the pixels of all levels and images.

    Convention:
        - Sum over channels, mean over the pixels of the mask on all levels and images. No pixel
          gives 0 with a graph.
        - The teacher gets no gradient.

    Args:
        student: Maps of a pyramid, each ``(N, C, H, W)``; computed in at least float32.
        teacher: Maps of the same shapes.
        mask: :math:`I` per level, bool, ``(N, H, W)``; None for all pixels.

    Returns:
        Scalar.

    Raises:
        TypeError: If a level is no tensor, or one tensor stands for all levels.
        ValueError: If levels or shapes disagree.

    References: Wang, Yuan, Zhang, Feng, Distilling Object Detectors with Fine-Grained Feature
        Imitation, CVPR 2019, equation 4.

    Example:
        >>> student = torch.zeros(1, 2, 1, 2)
        >>> mask = torch.tensor([[[True, False]]])
        >>> imitation_loss([student], [student + 3], mask=[mask])  # (3^2 + 3^2) / 2, one pixel
        tensor(9.)
    """
    masks = level_masks(student, teacher, mask)
    with without_autocast(student[0]):
        squares, counts = zip(*map(_sum_and_count, student, teacher, masks))
        return torch.stack(squares).sum() / (2 * torch.stack(counts).sum().clamp(min=1))


def _sum_and_count(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    student, teacher = promote(student, teacher.detach())
    if mask is None:
        count = student.new_tensor(student[:, 0].numel())
        return (student - teacher).square().sum(), count
    outside = ~mask[:, None]
    difference = student.masked_fill(outside, 0) - teacher.masked_fill(outside, 0)
    return difference.square().sum(), mask.sum().to(difference)


class FGFILoss(Loss):
    """Squared distance of feature vectors at the pixels of a mask (FGFI).

    Args:
        loss_weight: Factor of the loss, >= 0; 0.01 is the default of the published code.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.imitation_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(self, *, loss_weight: float = 0.01) -> None:
        super().__init__(loss_weight)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask``: where, each ``(N, H, W)``."""
        return self.loss_weight * imitation_loss(student, teacher, mask=mask)
