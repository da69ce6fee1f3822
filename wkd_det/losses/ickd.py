"""ICKD-C: correlations between channels."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops.arithmetic import matrix_product, promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_maps
from wkd_det.ops.divergences import squared_gram_distance
from wkd_det.ops.maps import without_padding


def ickd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    normalize: bool = True,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Inter-channel correlation for classification (ICKD-C).

    With :math:`G = F F^T` the inner products of the channels of a map, :math:`F` of shape
    ``(C, H W)``,

    .. math::
        \frac1C \lVert \hat G_T - \hat G_S \rVert_F^2
        \quad\text{or}\quad \frac1{C^2} \lVert G_T - G_S \rVert_F^2

    with the rows of :math:`\hat G` scaled to length 1, the form of the authors' code, or without
    scaling, the form of their paper. The latter is the distance of the second moments over the
    pixels in the family of WKD-F (``channel_gram``) times ``(H W / C)^2``: it grows with the fourth
    power of the features and the square of the map's size.

    Convention:
        - Mean over images. A channel of zeros has a row of zeros.
        - The teacher gets no gradient.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Same shape.
        normalize: Scale the rows of the correlations to length 1.
        mask: Bool, shape ``(N, H, W)``: pixels that count.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Liu et al., Exploring Inter-Channel Correlation for Diversity-preserved Knowledge
        Distillation, ICCV 2021.

    Example:
        >>> import torch
        >>> student = torch.eye(2).view(1, 2, 1, 2)  # G = I
        >>> teacher = torch.ones(1, 2, 1, 2)  # every row of G is (2, 2): normalised (1, 1) / sqrt 2
        >>> ickd_loss(student, teacher).round(decimals=4)  # ((1 - .7071)^2 + .7071^2) * 2 / 2
        tensor(0.5858)
        >>> ickd_loss(student, teacher, normalize=False)  # (1 + 4 + 4 + 1) / 4
        tensor(2.5000)
    """
    check_maps(student, teacher, mask)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student, teacher = (without_padding(maps, mask).flatten(2) for maps in (student, teacher))
        channels = student.shape[1]
        if normalize:
            change = _correlations(student) - _correlations(teacher)
            per_image = change.square().sum(dim=(1, 2)) / channels
        else:
            per_image = squared_gram_distance(student, teacher) / channels**2
        return weighted_mean(per_image, weight, avg_factor)


def _correlations(maps: Tensor) -> Tensor:
    return F.normalize(matrix_product(maps, maps.mT), dim=2)


class ICKDLoss(MapLoss):
    """Distance of the correlations between channels (ICKD-C).

    Args:
        normalize: Scale the rows of the correlations to length 1, as the authors' code does.
        loss_weight: Factor of the loss, >= 0; 2.5 for the last map of classifiers on CIFAR-100,
            behind a ``ConvConnector``.

    Raises:
        ValueError: If ``loss_weight`` is negative or ``normalize`` no boolean.

    See :func:`wkd_det.functional.ickd_loss` for formula, conventions and source.
    """

    def __init__(self, *, normalize: bool = True, loss_weight: float = 1.0) -> None:
        check_booleans(normalize=normalize)
        super().__init__(partial(ickd_loss, normalize=normalize), loss_weight)
