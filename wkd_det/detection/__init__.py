"""Distilled detectors of MMDetection."""

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
from wkd_det.detection.map_tap import BackboneTap, NeckTap
from wkd_det.detection.roi_feats_tap import RoIFeatsTap
from wkd_det.detection.roi_logits_tap import RoILogitsTap

__all__ = [
    'BackboneTap',
    'DistilledATSS',
    'DistilledCascadeRCNN',
    'DistilledFCOS',
    'DistilledFasterRCNN',
    'DistilledGFL',
    'DistilledMaskRCNN',
    'DistilledMixin',
    'DistilledRetinaNet',
    'NeckTap',
    'RoIFeatsTap',
    'RoILogitsTap',
    'distilled',
]
