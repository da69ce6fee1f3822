"""PKD as a configurable module."""

from __future__ import annotations

from mmdet.registry import MODELS

from wkd_det.functional import pkd_loss
from wkd_det.losses.feature_loss import FeatureLoss


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """One minus the Pearson correlation of feature maps (PKD).

    Args:
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If it is negative.

    See :func:`wkd_det.functional.pkd_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(pkd_loss, loss_weight)
