"""Tap on all levels of the neck together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from wkd_det.detection.map_tap import NeckTap
from wkd_det.detection.record import Record
from wkd_det.detection.teacher_pass import TeacherPass
from wkd_det.distillation.tap import TAPS


@TAPS.register_module('pyramid')
class PyramidTap(NeckTap):
    """Maps of the neck, all levels in one comparison; pixels of padding do not count.

    A connector may take one level (there is one for each then) or, like ``ABFConnector``, all of
    them at once.

    Args:
        levels: Indices of the student's levels, as of the tap ``neck``.
        teacher_levels: Indices of the teacher's levels beside them.
    """

    yields: ClassVar[str] = 'pyramid'

    def __init__(
        self,
        *,
        levels: Sequence[int] | None = None,
        teacher_levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(levels=levels, teacher_levels=teacher_levels)

    def pairs(
        self, student: Record, teacher: TeacherPass, connectors: Sequence[nn.Module]
    ) -> list[dict[str, Any]]:
        levels = super().pairs(student, teacher, connectors)
        return [{name: [level[name] for level in levels] for name in levels[0]}]
