"""PKD: Pearson correlation of feature maps."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.losses.fitnet import fitnet_loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.cells import cell_mean_and_variance
from wkd_det.ops.checks import check_maps

_GUARD = 1e-6  # on standard deviations, as in MMRazor


def pkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Half the squared distance of feature maps, each channel standardised over the batch.

    .. math:: \tfrac12 \lVert \hat f_T - \hat f_S \rVert^2, \quad \hat f = (f - \mu) / \sigma

    per entry, which is :math:`(m - 1) / m` times one minus the Pearson correlation :math:`r` of a
    channel's ``m`` values in student and teacher, averaged over the channels: scale and offset of
    the features do not matter.

    Convention:
        - :math:`\mu` and :math:`\sigma` (unbiased) over all pixels of the batch that count.
        - Mean over channels and pixels, mean over images.
        - The teacher gets no gradient.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Same shape.
        mask: Bool, shape ``(N, H, W)``: pixels that count.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Cao et al., PKD: General Distillation Framework for Object Detectors via Pearson
        Correlation Coefficient, NeurIPS 2022.

    Example:
        >>> import torch
        >>> student = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
        >>> pkd_loss(student, -5 * student)  # r = -1, m = 3: 2/3 * 2
        tensor(1.3333)
    """
    check_maps(student, teacher, mask)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        return fitnet_loss(
            _standardised(student, mask),
            _standardised(teacher, mask),
            mask=mask,
            weight=weight,
            avg_factor=avg_factor,
        )


def _standardised(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Shift and scale each channel to mean 0 and deviation 1 over the batch."""
    samples, channels, height, width = maps.shape
    if samples == 0:
        return maps
    if mask is not None:  # padding may hold anything, also inf
        maps = maps.masked_fill(~mask[:, None], 0)
    batch = maps.transpose(0, 1).reshape(1, channels, samples * height, width)
    inside = None if mask is None else mask.reshape(1, samples * height, width)
    mean, variance, _ = cell_mean_and_variance(batch, mask=inside)
    # A constant channel has the deviation 0, whose root has no gradient.
    deviation = variance.masked_fill(variance == 0, _GUARD**2).sqrt()
    return (maps - mean.view(1, -1, 1, 1)) / (deviation + _GUARD).view(1, -1, 1, 1)


class PKDLoss(MapLoss):
    """One minus the Pearson correlation of feature maps (PKD).

    Args:
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.

    See :func:`wkd_det.functional.pkd_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(pkd_loss, loss_weight)
