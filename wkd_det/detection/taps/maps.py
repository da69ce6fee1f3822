"""Taps on feature maps of whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.distillation.tap import Binding, Slot, Tap, cut_pair
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.ops.checks import are_indices, check_weights


class MapTap(Tap):
    """Feature maps of the backbone or the neck, compared level by level.

    Each level has its own connector, the loss is the mean over levels, and pixels of padding do
    not count.

    Args:
        levels: Indices of the student's levels to compare; all of them by default. For an FPN
            that starts at P2, P3 is level 1.
        teacher_levels: Indices of the teacher's levels to compare them with; the same by default. A
            RetinaNet starts at P3, a Faster R-CNN at P2: ``levels=[0, 1, 2]`` of the former meet
            ``teacher_levels=[1, 2, 3]`` of the latter.
        level_weights: Factor of each level in the term's sum; the mean over levels by default.

    Raises:
        ValueError: If an option is no list of different indices, or lengths differ.
    """

    yields: ClassVar[str] = 'features'
    place: ClassVar[str]

    def __init__(
        self,
        *,
        levels: Sequence[int] | None = None,
        teacher_levels: Sequence[int] | None = None,
        level_weights: Sequence[float] | None = None,
    ) -> None:
        for name, value in dict(levels=levels, teacher_levels=teacher_levels).items():
            if value is not None and not are_indices(value):
                raise ValueError(
                    f'{name} must be a non-empty list of different indices from 0 on, got {value!r}'
                )
        if teacher_levels is not None and (levels is None or len(levels) != len(teacher_levels)):
            raise ValueError(
                'teacher_levels needs levels of the same number, got '
                f'levels={levels} and teacher_levels={teacher_levels}'
            )
        if level_weights is not None and levels is None:
            raise ValueError(f'level_weights needs levels, got {level_weights}')
        check_weights('level_weights', level_weights, len(levels or ()), 'level')
        self.levels = levels
        self.teacher_levels = levels if teacher_levels is None else teacher_levels
        self.weights = level_weights
        self.strides: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
        """Strides of all levels of the student and of the teacher, known once both networks are."""

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        levels = [run.levels(self.place) for run in (student.dry_run(), student.dry_run(teacher))]
        self.strides = tuple(one.strides for one in levels)
        own, other = (one.channels for one in levels)
        if self.levels is None:
            if len(own) != len(other):
                raise ValueError(
                    f'the student has {len(own)} {self.place} levels and the teacher '
                    f'{len(other)}: name those to compare with levels=[...] and, where they '
                    'stand elsewhere in the teacher, teacher_levels=[...]'
                )
            self.levels = self.teacher_levels = range(len(own))
        sides = (('student', self.levels, own), ('teacher', self.teacher_levels, other))
        for owner, wanted, available in sides:
            if max(wanted) >= len(available):
                raise ValueError(
                    f'levels {list(wanted)} of the {self.place}: the {owner} has '
                    f'{len(available)} levels'
                )
        slots = tuple(
            Slot(own[i], other[j], (i,)) for i, j in zip(self.levels, self.teacher_levels)
        )
        return Binding(slots=slots, joins_levels=True)

    def check(self, connectors: Sequence[Connector]) -> None:
        own, other = self.strides
        each = len(connectors) == len(self.levels) and not _spans_levels(connectors)
        for index, (level, teacher_level) in enumerate(zip(self.levels, self.teacher_levels)):
            connector = connectors[index] if each else None
            if own[level] != other[teacher_level] and not (connector and connector.resizes):
                raise ValueError(
                    f'{self.place} level {level} has stride {own[level]} in the student and level '
                    f'{teacher_level} has {other[teacher_level]} in the teacher (all strides: '
                    f'{list(own)} and {list(other)}): choose others with levels and '
                    'teacher_levels, or use a connector with resize=True'
                )

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        maps = teacher.maps(self.place)
        targets = [maps[level] for level in self.teacher_levels]
        projected = self._projected(student, targets, connectors)
        pairs = []
        for level, teacher_level, own, target in zip(
            self.levels, self.teacher_levels, projected, targets
        ):
            mask = student.image_mask(self.place, target)
            own, target, mask = cut_pair(own, target, mask)
            if own.shape[-2:] != target.shape[-2:]:
                raise ValueError(
                    f'{self.place} level {level} of the student has the shape '
                    f'{tuple(own.shape)} after its connector, level {teacher_level} of the '
                    f'teacher {tuple(target.shape)}; where strides differ, use a connector with '
                    'resize=True'
                )
            pair = dict(student=own, teacher=target)
            if mask is not None:
                pair['mask'] = mask
            pairs.append(pair)
        return pairs

    def _projected(
        self, student: StudentView, targets: list[Tensor], connectors: Sequence[Connector]
    ) -> list[Tensor]:
        sizes = [tuple(target.shape[-2:]) for target in targets]
        if _spans_levels(connectors):
            maps = student.maps(self.place)
            return connectors[0]([maps[level] for level in self.levels], sizes)
        return [
            student.projected(self.place, level, connector, size)
            for level, connector, size in zip(self.levels, connectors, sizes)
        ]


class NeckTap(MapTap):
    """Maps of the neck, e.g. the FPN."""

    place = 'neck'


class BackboneTap(MapTap):
    """Maps of the backbone."""

    place = 'backbone'


def _spans_levels(connectors: Sequence[Connector]) -> bool:
    """Whether one connector stands for all levels."""
    return len(connectors) > 0 and connectors[0].spans_levels


class PyramidTap(NeckTap):
    """Maps of the neck, all levels in one comparison; pixels of padding do not count.

    A connector may take one level (there is one for each then) or, like ``ABFConnector``, all of
    them at once.

    Args:
        levels: Indices of the student's levels, as of the tap ``neck``.
        teacher_levels: Indices of the teacher's levels to compare them with.
    """

    yields: ClassVar[str] = 'pyramid'

    def __init__(
        self,
        *,
        levels: Sequence[int] | None = None,
        teacher_levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(levels=levels, teacher_levels=teacher_levels)

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        levels = super().read(student, teacher, connectors)
        return [{name: [level[name] for level in levels] for name in levels[0]}]
