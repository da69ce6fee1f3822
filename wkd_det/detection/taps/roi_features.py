"""Tap on RoI features: RoIAlign of both networks at one size."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import nn

from wkd_det.connectors import Connector, IdentityConnector
from wkd_det.detection.geometry import roi_place
from wkd_det.detection.heads import roi_extractor
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.taps.rois import RoITap
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.distillation.tap import Binding, Slot
from wkd_det.distillation.view import Pair
from wkd_det.ops.checks import check_choice, check_integers


class RoIPooler:
    """RoIAlign of both networks at one size.

    Args:
        student: RoI extractor of the student.
        teacher: RoI extractor of the teacher.
        size: Height and width of the pooled features; the student's own if None.
        at_map: The student's maps have the teacher's width when they are pooled.
    """

    def __init__(
        self,
        student: SingleRoIExtractor,
        teacher: SingleRoIExtractor,
        *,
        size: int | None,
        at_map: bool,
    ) -> None:
        size = size or _size(student)
        self.is_own_size = size == _size(student)
        self.student = _sized(student, size, teacher.out_channels if at_map else None)
        self.teacher = _sized(teacher, size)


def _require_single(extractor: nn.Module, owner: str) -> None:
    if not isinstance(extractor, SingleRoIExtractor):
        raise ValueError(
            f'roi_feats needs a SingleRoIExtractor, the {owner} has {type(extractor).__name__}: '
            'use the tap roi_logits, neck or backbone'
        )


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


class RoIFeatsTap(RoITap):
    """RoIAlign features of both networks on the RoIs that the student has sampled.

    Args:
        roi_size: Height and width of the pooled features; those of the student's own head by
            default.
        connector_at: ``'map'``: the connector sees the pyramid before pooling, shared by its
            levels; ``'roi'``: it sees the pooled features. Stages share it too.
        rois: ``'all'`` sampled RoIs or those assigned to an object (``'foreground'``).
        stage, teacher_stage, stage_weights: See :class:`RoITap`.

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
        stage: int | Sequence[int] | None = None,
        teacher_stage: int | Sequence[int] | None = None,
        stage_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            rois=rois, stage=stage, teacher_stage=teacher_stage, stage_weights=stage_weights
        )
        if roi_size is not None:
            check_integers(roi_size=roi_size)
        check_choice(('map', 'roi'), connector_at=connector_at)
        self.roi_size = roi_size
        self.connector_at = connector_at
        self.poolers: list[RoIPooler] = []

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        super().bind(student, teacher)
        other = student.dry_run(teacher).network
        extractors = [
            (roi_extractor(student, stage, 'student'), roi_extractor(other, at, 'teacher'))
            for stage, at in self.stages
        ]
        for pair in extractors:
            for owner, extractor in zip(('student', 'teacher'), pair):
                _require_single(extractor, owner)
        widths = {tuple(one.out_channels for one in pair) for pair in extractors}
        if len(widths) > 1:
            raise ValueError(
                f'stages share a connector, but their widths differ: {sorted(widths)}; write one '
                'term for each'
            )
        at_map = self.connector_at == 'map'
        return Binding(
            slots=tuple(Slot(*pair, None if at_map else ()) for pair in widths),
            lends_nothing='' if at_map else "its connector works on RoIs: set connector_at='map'",
        )

    def attach(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[Connector]
    ) -> None:
        # Losses across unequal widths have no connector that changes them.
        widens = not isinstance(connectors[0], IdentityConnector)
        self.poolers = [
            RoIPooler(
                roi_extractor(student, stage, 'student'),
                roi_extractor(teacher, teacher_stage, 'teacher'),
                size=self.roi_size,
                at_map=widens and self.connector_at == 'map',
            )
            for stage, teacher_stage in self.stages
        ]

    def read(
        self,
        student: DetectorStudentView,
        teacher: DetectorTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        (connector,) = connectors
        place = roi_place(student.module)
        maps = student.maps(place)
        if self.connector_at == 'map':
            count = max(pooler.student.num_inputs for pooler in self.poolers)
            maps = tuple(student.projected(place, level, connector) for level in range(count))
        pairs = []
        for (stage, _), pooler in zip(self.stages, self.poolers):
            recorded = student.stage(stage)
            chosen = student.chosen(stage, self.rois)
            rois = student.chosen_rois(stage, self.rois)
            pooled = recorded.features if pooler.is_own_size else None
            if self.connector_at == 'roi' and pooled is not None:  # by the head already
                own = pooled if chosen is None else pooled[chosen]
            else:
                own = student.pooled(pooler.student, maps, rois)
            if self.connector_at == 'roi':
                own = connector(own)
            pairs.append(dict(student=own, teacher=teacher.pooled(pooler.teacher, rois)))
        return pairs
