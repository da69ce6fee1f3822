"""Registered losses: hyper-parameters, buffers and weight around the pure functions."""

from wkd_det.losses.box_loss import BoxLoss
from wkd_det.losses.dkd_loss import DKDLoss
from wkd_det.losses.fit_net_loss import FitNetLoss
from wkd_det.losses.hierarchical_context_loss import HierarchicalContextLoss
from wkd_det.losses.ickd_loss import ICKDLoss
from wkd_det.losses.imitation_loss import ImitationLoss
from wkd_det.losses.instance_conditional_loss import InstanceConditionalLoss
from wkd_det.losses.kd_loss import KDLoss
from wkd_det.losses.nst_loss import NSTLoss
from wkd_det.losses.offset_loss import OffsetLoss
from wkd_det.losses.pkd_loss import PKDLoss
from wkd_det.losses.wkd_feature_loss import WKDFeatureLoss
from wkd_det.losses.wkd_logit_loss import WKDLogitLoss

__all__ = [
    'BoxLoss',
    'DKDLoss',
    'FitNetLoss',
    'HierarchicalContextLoss',
    'ICKDLoss',
    'ImitationLoss',
    'InstanceConditionalLoss',
    'KDLoss',
    'NSTLoss',
    'OffsetLoss',
    'PKDLoss',
    'WKDFeatureLoss',
    'WKDLogitLoss',
]
