"""Registered losses: hyper-parameters, buffers and weight around the pure functions."""

from wkd_det.losses.wkd_feature_loss import WKDFeatureLoss
from wkd_det.losses.wkd_logit_loss import WKDLogitLoss

__all__ = ['WKDFeatureLoss', 'WKDLogitLoss']
