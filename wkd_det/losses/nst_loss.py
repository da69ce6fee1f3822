"""NST as a configurable module."""

from __future__ import annotations

from mmdet.registry import MODELS

from wkd_det.functional import nst_loss
from wkd_det.losses.feature_loss import FeatureLoss


@MODELS.register_module()
class NSTLoss(FeatureLoss):
    """Neuron selectivity transfer with the polynomial kernel (NST).

    Args:
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If it is negative.

    See :func:`wkd_det.functional.nst_loss` for formula, conventions and source.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(nst_loss, loss_weight)
