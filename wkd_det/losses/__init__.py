"""Registered losses: hyper-parameters, buffers and weight around the pure functions."""

from wkd_det.losses.box_loss import BoxLoss
from wkd_det.losses.hierarchical_context_loss import HierarchicalContextLoss
from wkd_det.losses.imitation_loss import ImitationLoss
from wkd_det.losses.instance_conditional_loss import InstanceConditionalLoss
from wkd_det.losses.offset_loss import OffsetLoss
from wkd_det.losses.wkd_feature_loss import WKDFeatureLoss
from wkd_det.losses.wkd_logit_loss import WKDLogitLoss

__all__ = [
    'BoxLoss',
    'HierarchicalContextLoss',
    'ImitationLoss',
    'InstanceConditionalLoss',
    'OffsetLoss',
    'WKDFeatureLoss',
    'WKDLogitLoss',
]
