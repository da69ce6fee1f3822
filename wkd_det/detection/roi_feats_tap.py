"""Tap on the RoI features that feed the box head."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from wkd_det.detection.record import Record, RoIStage
from wkd_det.detection.roi_heads import (
    check_roi_choice,
    check_stages,
    chosen_rois,
    require_roi_head,
    roi_extractor,
)
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.detection.widths import roi_width
from wkd_det.distillation.tap import TAPS, Tap


@TAPS.register_module('roi_feats')
class RoIFeatsTap(Tap):
    """RoIAlign features of both networks on the RoIs that the student has sampled.

    Args:
        roi_size: Height and width of the pooled features; those of the student's own head by
            default.
        connector_at: ``'map'``: the connector sees the pyramid before pooling, shared by its
            levels; ``'roi'``: it sees the pooled features.
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage: Stage of a Cascade student; 0 for other heads.
        teacher_stage: Stage of a Cascade teacher; ``stage`` by default.

    Raises:
        ValueError: If an option is outside its range.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self,
        *,
        roi_size: int | None = None,
        connector_at: str = 'map',
        rois: str = 'all',
        stage: int = 0,
        teacher_stage: int | None = None,
    ) -> None:
        if roi_size is not None and (not isinstance(roi_size, int) or roi_size < 1):
            raise ValueError(f'roi_size must be a positive integer, got {roi_size!r}')
        if connector_at not in ('map', 'roi'):
            raise ValueError(f"connector_at must be 'map' or 'roi', got {connector_at!r}")
        check_roi_choice(rois)
        self.roi_size = roi_size
        self.connector_at = connector_at
        self.rois = rois
        self.stage = stage
        self.teacher_stage = stage if teacher_stage is None else teacher_stage

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        require_roi_head(student, 'student')
        require_roi_head(teacher, 'teacher')
        return [(roi_width(student, self.stage), roi_width(teacher, self.teacher_stage))]

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        check_stages(student, teacher, self.stage, self.teacher_stage)
        own = roi_extractor(student, self.stage, 'student')
        other = roi_extractor(teacher, self.teacher_stage, 'teacher')
        for owner, extractor in (('student', own), ('teacher', other)):
            if not isinstance(extractor, SingleRoIExtractor):
                raise ValueError(
                    f'roi_feats needs a SingleRoIExtractor, the {owner} has '
                    f'{type(extractor).__name__}'
                )
        size = self.roi_size or _size(own)
        at_map = self.connector_at == 'map'
        self._student_extractor = _sized(own, size, other.out_channels if at_map else None)
        self._teacher_extractor = _sized(other, size)
        self._is_own_size = size == _size(own)

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        stage = student.stages[self.stage]
        chosen = chosen_rois(stage, self.rois)
        rois = stage.rois if chosen is None else stage.rois[chosen]
        target = teacher.pool(self._teacher_extractor, rois)
        return [
            dict(student=self._pool(student, stage, rois, chosen, connectors[0]), teacher=target)
        ]

    def _pool(
        self,
        student: Record,
        stage: RoIStage,
        rois: Tensor,
        chosen: Tensor | None,
        connector: nn.Module,
    ) -> Tensor:
        maps = student.neck[: self._student_extractor.num_inputs]
        if self.connector_at == 'map':
            projected = tuple(connector(features) for features in maps)
            return self._student_extractor(projected, rois)
        if self._is_own_size:  # the student's head has pooled them already
            return connector(stage.features if chosen is None else stage.features[chosen])
        return connector(self._student_extractor(maps, rois))


def _size(extractor: SingleRoIExtractor) -> int | tuple[int, int]:
    height, width = extractor.roi_layers[0].output_size
    return height if height == width else (height, width)


def _sized(
    extractor: SingleRoIExtractor, size: int | tuple[int, int], channels: int | None = None
) -> SingleRoIExtractor:
    """The same extractor with another output size and, if given, another width."""
    sized = copy.deepcopy(extractor)
    for layer in sized.roi_layers:
        layer.output_size = (size, size) if isinstance(size, int) else size
    if channels is not None:
        sized.out_channels = channels
    return sized
