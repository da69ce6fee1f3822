"""CAT-KD: class activation maps, pooled to a coarse grid."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_integers, check_maps, plain_number
from wkd_det.ops.maps import mean_per_image, pooled


def cat_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    resolution: int = 2,
    normalize: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Squared distance of class activation maps, averaged over the cells of a grid.

    The activation of class ``k`` at a pixel is the product of the feature vector there and the
    class's weight vector in the last layer, without its bias. With :math:`a` its averages over the
    cells of an ``r x r`` grid,

    .. math:: \frac1{K r^2} \sum_k \lVert a_{T,k} - a_{S,k} \rVert^2

    or the same with each :math:`a_k` scaled to length 1.

    Convention:
        - Mean over classes and cells, mean over images.
        - Cells are the bins of adaptive pooling, so the sizes of the maps may differ.
        - A class that is active nowhere stays zero.
        - The teacher gets no gradient.

    Args:
        student: Class activation maps, shape ``(N, K, H, W)``; any floating type, computed in at
            least float32.
        teacher: Shape ``(N, K, H', W')``, classes in the same order.
        resolution: Cells along each axis, ``r``, >= 1.
        normalize: Scale each map of an image and a class to length 1.
        mask: Bool, shape ``(N, H, W)``: pixels that count; sizes are equal then.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``resolution`` is below 1.

    References: Guo et al., Class Attention Transfer Based Knowledge Distillation, CVPR 2023.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> cat_loss(student, student + 2)
        tensor(4.)
    """
    check_integers(resolution=resolution)
    check_maps(student, teacher, mask, same_size=mask is not None)
    cells = (int(resolution), int(resolution))
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student, teacher = (pooled(maps, cells, mask) for maps in (student, teacher))
        if normalize:
            student, teacher = (
                F.normalize(maps.flatten(2), dim=2).view_as(maps) for maps in (student, teacher)
            )
        per_image = mean_per_image((student - teacher).square())
        return weighted_mean(per_image, weight, avg_factor)


class CATKDLoss(MapLoss):
    """Squared distance of class activation maps (CAT-KD).

    Takes what the tap ``class_activation`` gives. The student's last layer is trained by it too.

    Args:
        resolution: Cells along each axis, >= 1; published: 2 between networks of one style on
            CIFAR-100, 4 on ImageNet and for ShuffleNets.
        normalize: Scale each map of an image and a class to length 1; published for networks of
            different styles.
        loss_weight: Factor of the loss, >= 0; published values lie between 0.5 and 600, e.g. 15 for
            ResNet32x4 to ResNet8x4 on CIFAR-100 and 0.5 for ResNet-34 to ResNet-18 on ImageNet.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.cat_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'

    def __init__(
        self, *, resolution: int = 2, normalize: bool = False, loss_weight: float = 1.0
    ) -> None:
        check_booleans(normalize=normalize)
        check_integers(resolution=resolution)
        options = dict(resolution=plain_number(resolution), normalize=normalize)
        super().__init__(partial(cat_loss, **options), loss_weight)
