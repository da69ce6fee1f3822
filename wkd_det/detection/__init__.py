"""Distilled detectors of MMDetection."""

from wkd_det.runtime.found import require

require('mmengine', 'mmcv', 'mmdet')

from wkd_det.detection.detectors import (
    DistilledATSS,
    DistilledCascadeRCNN,
    DistilledDINO,
    DistilledFasterRCNN,
    DistilledFCOS,
    DistilledGFL,
    DistilledMaskRCNN,
    DistilledMixin,
    DistilledRetinaNet,
    DistilledRTMDet,
    distilled,
)
from wkd_det.detection.taps.crossed import CrossedLogitsTap, CrossedOffsetsTap
from wkd_det.detection.taps.crossed_dense import (
    CrossedBoxDistributionsTap,
    CrossedDenseLogitsTap,
)
from wkd_det.detection.taps.dense import BoxDistributionsTap, DenseLogitsTap
from wkd_det.detection.taps.maps import BackboneTap, NeckTap, PyramidTap
from wkd_det.detection.taps.memory import MemoryTap
from wkd_det.detection.taps.objects import ImitationTap, InstanceTap
from wkd_det.detection.taps.queries import QueryBoxesTap, QueryLogitsTap
from wkd_det.detection.taps.roi_features import RoIFeatsTap
from wkd_det.detection.taps.rois import RoIBoxesTap, RoILogitsTap, RoIOffsetsTap
from wkd_det.detection.timm_maps import TimmMaps

__all__ = [
    'BackboneTap',
    'BoxDistributionsTap',
    'CrossedBoxDistributionsTap',
    'CrossedDenseLogitsTap',
    'CrossedLogitsTap',
    'CrossedOffsetsTap',
    'DenseLogitsTap',
    'DistilledATSS',
    'DistilledCascadeRCNN',
    'DistilledDINO',
    'DistilledFCOS',
    'DistilledFasterRCNN',
    'DistilledGFL',
    'DistilledMaskRCNN',
    'DistilledMixin',
    'DistilledRTMDet',
    'DistilledRetinaNet',
    'ImitationTap',
    'InstanceTap',
    'MemoryTap',
    'NeckTap',
    'PyramidTap',
    'QueryBoxesTap',
    'QueryLogitsTap',
    'RoIBoxesTap',
    'RoIFeatsTap',
    'RoILogitsTap',
    'RoIOffsetsTap',
    'TimmMaps',
    'distilled',
]
