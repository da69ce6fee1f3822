"""Distilled Faster R-CNN."""

from __future__ import annotations

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS

from wkd_det.detection.distilled_mixin import DistilledMixin


@MODELS.register_module()
class DistilledFasterRCNN(DistilledMixin, FasterRCNN):
    """Faster R-CNN with the sections ``teacher`` and ``distill``; see :class:`DistilledMixin`."""
