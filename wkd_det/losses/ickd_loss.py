"""ICKD-C as a configurable module."""

from __future__ import annotations

from functools import partial

from mmdet.registry import MODELS

from wkd_det.functional import ickd_loss
from wkd_det.losses.feature_loss import FeatureLoss


@MODELS.register_module()
class ICKDLoss(FeatureLoss):
    """Distance of the correlations between channels (ICKD-C).

    Args:
        normalize: Scale the rows of the correlations to length 1, as the authors' code does.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If the weight is negative.

    See :func:`wkd_det.functional.ickd_loss` for formula, conventions and source.
    """

    def __init__(self, *, normalize: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__(partial(ickd_loss, normalize=normalize), loss_weight)
