"""Tiny detectors and batches for tests."""

from wkd_det.testing.tiny_detector import random_batch, save_detector, tiny_faster_rcnn

__all__ = ['random_batch', 'save_detector', 'tiny_faster_rcnn']
