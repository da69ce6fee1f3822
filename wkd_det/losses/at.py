"""AT: attention maps, the energy of each pixel over the channels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_maps
from wkd_det.ops.maps import energy, mean_per_image, on_common_grid


def at_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Squared distance of attention maps: attention transfer.

    .. math::
        \frac1{H W} \lVert a_T - a_S \rVert^2, \qquad
        a = \frac{v}{\lVert v \rVert}, \quad v_x = \frac1C \sum_c f_{cx}^2

    Convention:
        - Mean over the pixels that count (the paper sums), mean over images.
        - The widths may differ. The larger of two maps is averaged over the cells of the smaller
          one's grid first.
        - An image of zeros has the attention 0 everywhere.
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

    References: Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017; mean and
        pooling are those of RepDistiller.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
        >>> at_loss(student, teacher)  # attention (1, 0) and (0, 1)
        tensor(1.)
    """
    check_maps(student, teacher, mask, same_size=mask is not None, same_width=False)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student, teacher, mask = on_common_grid(student, teacher, mask)
        change = energy(student, mask) - energy(teacher, mask)
        return weighted_mean(mean_per_image(change.square(), mask), weight, avg_factor)


class ATLoss(MapLoss):
    """Squared distance of attention maps (AT).

    Args:
        loss_weight: Factor of the loss, >= 0; 1000 for each of three stages in the protocol of CRD
            on CIFAR-100.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.at_loss` for formula, conventions and source.
    """

    mixes_widths: ClassVar[bool] = True

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(at_loss, loss_weight)
