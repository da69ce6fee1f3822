"""Tiny detectors, their distillation sections and batches, for tests."""

from wkd_det.testing.distilled_config import (
    distilled_config,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)
from wkd_det.testing.tiny_detector import random_batch, save_detector, tiny_faster_rcnn

__all__ = [
    'distilled_config',
    'random_batch',
    'save_detector',
    'tiny_faster_rcnn',
    'wkd_f_neck_term',
    'wkd_f_term',
    'wkd_l_term',
]
