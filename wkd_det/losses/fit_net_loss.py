"""FitNet as a configurable module."""

from __future__ import annotations

from mmdet.registry import MODELS

from wkd_det.functional import fitnet_loss
from wkd_det.losses.feature_loss import FeatureLoss


@MODELS.register_module()
class FitNetLoss(FeatureLoss):
    """Half the squared distance of feature maps (FitNet).

    Args:
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If it is negative.

    See :func:`wkd_det.functional.fitnet_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(fitnet_loss, loss_weight)
