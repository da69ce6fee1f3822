"""A distilled model of two linear layers, which a runner trains in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher


class ToyModel(BaseModel):
    """Classifies vectors of 4 into 3 classes and learns from another such layer.

    Args:
        distill: The section ``distill``, with the taps ``toy_logits`` and ``toy_features``.
    """

    def __init__(self, distill: Mapping[str, Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 3)
            self.distiller = Distiller(distill, self, {})
            self.distiller.attach(self, Teacher(nn.Linear(4, 3)))
        self.teacher_runs = 0

    def forward(self, inputs: Tensor, target: Tensor, mode: str = 'loss') -> dict[str, Tensor]:
        """Task loss and terms."""
        student = dict(inputs=inputs, target=target, logits=self.layer(inputs))
        losses = dict(loss_cls=nn.functional.cross_entropy(student['logits'], target))
        losses.update(self.distiller(student, _ToyTeacherPass(self, inputs)))
        return losses


class _ToyTeacherPass:
    def __init__(self, model: ToyModel, inputs: Tensor) -> None:
        self.model = model
        self.inputs = inputs

    @cached_property
    def logits(self) -> Tensor:
        self.model.teacher_runs += 1
        return self.model.distiller.teacher.module(self.inputs)


@TAPS.register_module('toy_logits')
class _ToyLogitsTap(Tap):
    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True

    def num_classes(self, student: nn.Module) -> int:
        return 3

    def pairs(self, student: Any, teacher: Any, connectors: nn.ModuleList) -> list[dict]:
        logits = student['logits']
        return [dict(student=logits, teacher=teacher.logits, target=student['target'])]


@TAPS.register_module('toy_features')
class _ToyFeaturesTap(Tap):
    yields: ClassVar[str] = 'features'

    def widths(self, student: nn.Module, teacher: Any) -> list[tuple[int, int]]:
        return [(3, 3)]

    def pairs(self, student: Any, teacher: Any, connectors: nn.ModuleList) -> list[dict]:
        features = connectors[0](student['logits'][:, :, None, None])
        return [dict(student=features, teacher=teacher.logits[:, :, None, None])]
