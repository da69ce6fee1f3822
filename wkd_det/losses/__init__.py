"""Registered losses: hyper-parameters, buffers and weight around the pure functions."""

from wkd_det.losses.boxes import BoxLoss, OffsetLoss
from wkd_det.losses.fgfi import ImitationLoss
from wkd_det.losses.fitnet import FitNetLoss
from wkd_det.losses.icd import InstanceConditionalLoss
from wkd_det.losses.ickd import ICKDLoss
from wkd_det.losses.kd import DKDLoss, KDLoss
from wkd_det.losses.nst import NSTLoss
from wkd_det.losses.pkd import PKDLoss
from wkd_det.losses.reviewkd import HierarchicalContextLoss
from wkd_det.losses.wkd_feature import WKDFeatureLoss
from wkd_det.losses.wkd_logit import WKDLogitLoss

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
