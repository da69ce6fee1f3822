"""Tap on the memory of the encoder of DETR and its kin, as maps of the levels it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from wkd_det.detection.queries import query_head
from wkd_det.detection.taps.maps import MapTap
from wkd_det.detection.transformers import ENCODER, MEMORY
from wkd_det.distillation.tap import Binding


class MemoryTap(MapTap):
    """Memory of the transformer's encoder, one map for each level that the encoder reads.

    Args:
        levels, teacher_levels, level_weights: As of the tap ``neck``.

    Raises:
        ValueError: If an option is no list of different indices, or lengths differ.
    """

    place = MEMORY
    student_modules: tuple[str, ...] = (ENCODER,)
    teacher_modules: tuple[str, ...] = (ENCODER,)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        for run, owner in ((student.dry_run(), 'student'), (student.dry_run(teacher), 'teacher')):
            query_head(run.network, owner)  # what has none has no encoder either
        return super().bind(student, teacher)
