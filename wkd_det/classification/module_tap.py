"""Tap on the output of a module, by its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.classification.classifier import network_of
from wkd_det.classification.feature_layout import FeatureLayout, probe_layouts
from wkd_det.classification.student_pass import StudentPass
from wkd_det.classification.teacher_pass import TeacherPass
from wkd_det.distillation.strict import near_matches
from wkd_det.distillation.tap import Tap


class ModuleTap(Tap):
    """Features of a module of the student and of one of the teacher.

    Maps with channels last and sequences of tokens become maps ``(N, C, H, W)``; class and
    distillation tokens are dropped; a vector becomes a map of one pixel.

    Args:
        module: Name of the student's module, e.g. ``'layer4'`` or ``'blocks.11'``.
        teacher_tap: Name of the teacher's; the same by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are, for losses that compare statistics over all pixels.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self, module: str, *, teacher_tap: str | None = None, same_size: bool = True
    ) -> None:
        self.module = module
        self.teacher_module = module if teacher_tap is None else teacher_tap
        self.same_size = same_size

    def widths(self, student: nn.Module, teacher: Mapping[str, Any]) -> list[tuple[int, int]]:
        size = student.image_size
        own = copy.deepcopy(student.network).to('meta')
        self._student = _probe('student', own, self.module, size)
        with torch.device('meta'):
            other = network_of(MODELS.build(teacher))
        self._teacher = _probe('teacher', other, self.teacher_module, size)
        return [(self._student.channels, self._teacher.channels)]

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        if not self.same_size:
            return
        own, other = self._student, self._teacher
        connector = copy.deepcopy(connectors[0]).to('meta').eval()
        size = other.height, other.width
        with torch.no_grad():
            features = torch.zeros(1, own.channels, own.height, own.width, device='meta')
            found = tuple(connector(features, size).shape[-2:])
        if found != size:
            raise ValueError(
                f'the student gives {found[0]} x {found[1]} at {self.module!r} after its '
                f'connector, the teacher {size[0]} x {size[1]} at {self.teacher_module!r}: use '
                'TransposedConvConnector (doubles the size), ConvConnector with resize=True, or '
                'same_size=False'
            )

    def pairs(
        self, student: StudentPass, teacher: TeacherPass, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        target = self._teacher.to_map(teacher.outputs[self.teacher_module])
        features = self._student.to_map(student.outputs[self.module])
        features = connectors[0](features, target.shape[-2:])
        return [dict(student=features, teacher=target)]


def check_module(owner: str, network: nn.Module, name: str) -> None:
    """Refuse the name of a module that is not there.

    Raises:
        KeyError: With near matches.
    """
    names = [known for known, _ in network.named_modules() if known]
    if name not in names:
        raise KeyError(
            f'the {owner} {type(network).__name__} has no such module: {near_matches(name, names)}'
        )


def _probe(owner: str, network: nn.Module, name: str, image_size: int) -> FeatureLayout:
    check_module(owner, network, name)
    return probe_layouts(network, [name], image_size)[name]
