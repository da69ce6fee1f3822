"""Distilled detectors of MMDetection."""

from wkd_det.detection.crossed_logits_tap import CrossedLogitsTap
from wkd_det.detection.crossed_offsets_tap import CrossedOffsetsTap
from wkd_det.detection.detectors import (
    DistilledATSS,
    DistilledCascadeRCNN,
    DistilledFasterRCNN,
    DistilledFCOS,
    DistilledGFL,
    DistilledMaskRCNN,
    DistilledRetinaNet,
)
from wkd_det.detection.distilled import distilled
from wkd_det.detection.distilled_mixin import DistilledMixin
from wkd_det.detection.imitation_tap import ImitationTap
from wkd_det.detection.instance_tap import InstanceTap
from wkd_det.detection.map_tap import BackboneTap, NeckTap
from wkd_det.detection.pyramid_tap import PyramidTap
from wkd_det.detection.roi_boxes_tap import RoIBoxesTap
from wkd_det.detection.roi_feats_tap import RoIFeatsTap
from wkd_det.detection.roi_logits_tap import RoILogitsTap
from wkd_det.detection.roi_offsets_tap import RoIOffsetsTap

__all__ = [
    'BackboneTap',
    'CrossedLogitsTap',
    'CrossedOffsetsTap',
    'DistilledATSS',
    'DistilledCascadeRCNN',
    'DistilledFCOS',
    'DistilledFasterRCNN',
    'DistilledGFL',
    'DistilledMaskRCNN',
    'DistilledMixin',
    'DistilledRetinaNet',
    'ImitationTap',
    'InstanceTap',
    'NeckTap',
    'PyramidTap',
    'RoIBoxesTap',
    'RoIFeatsTap',
    'RoILogitsTap',
    'RoIOffsetsTap',
    'distilled',
]
