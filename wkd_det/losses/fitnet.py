"""FitNet: squared distance of feature maps."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import check_maps
from wkd_det.ops.maps import mean_per_image, without_padding


def fitnet_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Half the squared distance of feature maps: distillation of hints.

    .. math:: \tfrac12 \lVert f_T - f_S \rVert^2

    Convention:
        - Mean over channels and the pixels that count, so that maps of any size weigh the same
          (the paper sums); mean over images.
        - Code for classifiers (RepDistiller and what builds on it) has no factor 1/2: a weight
          published there is doubled, 200 for its 100.
        - The teacher gets no gradient.

    Args:
        student: Shape ``(N, C, H, W)``, after the regressor; any floating type, computed in at
            least float32.
        teacher: Same shape.
        mask: Bool, shape ``(N, H, W)``: pixels that count. An image without one gives 0.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> fitnet_loss(student, student + 2)
        tensor(2.)
    """
    check_maps(student, teacher, mask)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        # Padding may hold anything, also inf: it is cut out before the difference.
        change = without_padding(student, mask) - without_padding(teacher, mask)
        per_image = mean_per_image(change.square(), mask) / 2
        return weighted_mean(per_image, weight, avg_factor)


class FitNetLoss(MapLoss):
    """Half the squared distance of feature maps (FitNet).

    Args:
        loss_weight: Factor of the loss, >= 0. The protocol of CRD on CIFAR-100 has 100 without the
            factor 1/2, which is 200 here, at one stage and behind a ``RegressorConnector``.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.fitnet_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(fitnet_loss, loss_weight)
