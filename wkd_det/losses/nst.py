"""NST: the distribution of the channels, each a map over the pixels."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.losses.wkd_feature import feature_distribution_loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_maps
from wkd_det.ops.maps import on_common_grid


def nst_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Neuron selectivity transfer with the polynomial kernel.

    The squared maximum mean discrepancy between the sets of channels, each a map over the pixels
    scaled to length 1, with the kernel :math:`k(x, y) = (x^T y)^2`:

    .. math::
        \frac1{C_T^2} \sum_{ij} k(t_i, t_j) + \frac1{C_S^2} \sum_{ij} k(s_i, s_j)
        - \frac2{C_S C_T} \sum_{ij} k(s_i, t_j)
        = \lVert \tfrac1{C_T} \sum_c t_c t_c^T - \tfrac1{C_S} \sum_c s_c s_c^T \rVert_F^2

    which is, for normalised channels, the distance of the spatial second moments in the family
    of WKD-F (``spatial_gram``). No matrix larger than ``C x C`` is built.

    Convention:
        - Mean over images. A channel of zeros stays zero.
        - The widths may differ. The larger of two maps is averaged over the cells of the smaller
          one's grid first.
        - The teacher gets no gradient.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Shape ``(N, C', H', W')``; of the same size where there is a mask.
        mask: Bool, shape ``(N, H, W)``: pixels that count.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Huang, Wang, Like What You Like: Knowledge Distill via Neuron Selectivity
        Transfer, 2017; the kernel with d = 2, c = 0. Unequal widths and sizes as in RepDistiller.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
        >>> nst_loss(student, teacher)  # one channel each, orthogonal: 1 + 1 - 0
        tensor(2.)
    """
    check_maps(student, teacher, mask, same_size=mask is not None, same_width=False)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student, teacher, mask = on_common_grid(student, teacher, mask)
        widest = max(student.shape[1], teacher.shape[1])
        student, teacher = (_unit_channels(maps, widest) for maps in (student, teacher))
        return feature_distribution_loss(
            student,
            teacher,
            distribution='spatial_gram',
            distance='frobenius',
            mask=mask,
            weight=weight,
            avg_factor=avg_factor,
        )


def _unit_channels(maps: Tensor, width: int) -> Tensor:
    """Channels of length 1, and channels of zeros up to a width; their second moment is kept.

    The moment is a mean over the channels, so those of length 1 grow by the root of the ratio of
    the widths.
    """
    channels = maps.shape[1]
    unit = F.normalize(maps.flatten(2), dim=2).view_as(maps)
    if channels == width:
        return unit
    return F.pad(unit * (width / channels) ** 0.5, (0, 0, 0, 0, 0, width - channels))


class NSTLoss(MapLoss):
    """Neuron selectivity transfer with the polynomial kernel (NST).

    Args:
        loss_weight: Factor of the loss, >= 0; 50 for each of three stages in the protocol of CRD
            on CIFAR-100.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.nst_loss` for formula, conventions and source.
    """

    mixes_widths: ClassVar[bool] = True

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(nst_loss, loss_weight)
