"""SP: similarities between the samples of a batch."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import check_maps
from wkd_det.ops.maps import without_padding


def sp_loss(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Squared distance of the similarities of samples: similarity-preserving distillation.

    With :math:`F` the maps as rows, shape ``(N, C H W)``, and the rows of :math:`F F^T` scaled to
    length 1,

    .. math:: \frac1{N^2} \lVert \hat G_T - \hat G_S \rVert_F^2, \qquad G = F F^T

    Convention:
        - The samples of the batch are compared with each other: in several processes each has a
          batch of its own, as in the reference, and there is no weight per sample.
        - Widths and sizes may differ. A sample of zeros has a row of zeros.
        - The teacher gets no gradient.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Shape ``(N, C', H', W')``; of the same size where there is a mask.
        mask: Bool, shape ``(N, H, W)``: pixels that count.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Tung, Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.

    Example:
        >>> import torch
        >>> student = torch.eye(2).view(2, 2, 1, 1)  # G = I
        >>> teacher = torch.ones(2, 1, 1, 1)  # rows (1, 1) / sqrt 2
        >>> sp_loss(student, teacher).round(decimals=4)  # ((1 - .7071)^2 + .7071^2) * 2 / 4
        tensor(0.2929)
    """
    check_maps(student, teacher, mask, same_size=mask is not None, same_width=False)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        change = _similarities(student, mask) - _similarities(teacher, mask)
        return change.square().sum() / max(len(student), 1) ** 2


def _similarities(maps: Tensor, mask: Tensor | None) -> Tensor:
    rows = without_padding(maps, mask).flatten(1)
    return F.normalize(matrix_product(rows, rows.mT), dim=1)


class SPLoss(MapLoss):
    """Squared distance of the similarities of samples (SP).

    Args:
        loss_weight: Factor of the loss, >= 0; 3000 for the last map in the protocol of CRD on
            CIFAR-100.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.sp_loss` for formula, conventions and source.
    """

    mixes_widths: ClassVar[bool] = True

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(sp_loss, loss_weight)
