"""Distilled detectors of MMDetection."""

from wkd_det.detection.distilled_faster_rcnn import DistilledFasterRCNN
from wkd_det.detection.distilled_mixin import DistilledMixin
from wkd_det.detection.map_tap import BackboneTap, NeckTap
from wkd_det.detection.roi_feats_tap import RoIFeatsTap
from wkd_det.detection.roi_logits_tap import RoILogitsTap

__all__ = [
    'BackboneTap',
    'DistilledFasterRCNN',
    'DistilledMixin',
    'NeckTap',
    'RoIFeatsTap',
    'RoILogitsTap',
]
