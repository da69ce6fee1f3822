"""Small classifiers, their distillation sections and batches, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.connectors import Connector
from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.recording import Recorded, recording
from wkd_det.distillation.tap import TAPS, Binding, Slot, Tap, find_tap
from wkd_det.distillation.teacher import ONLY, Teacher
from wkd_det.distillation.view import Pair, StudentView, TeacherView


def classifier_config(name: str = 'resnet8', num_classes: int = 10, **changes: Any) -> dict:
    """Return the config of a plain classifier of the CIFAR zoo; changes go into the model."""
    network = dict(type='CifarModel', name=name, num_classes=num_classes)
    return dict(dict(type='Classifier', network=network), **changes)


def save_classifier(config: dict, path: str | Path, *, seed: int = 1, bare: bool = False) -> dict:
    """Save random weights, and return the ``teacher`` section that names them.

    Args:
        config: Config of the classifier.
        path: Checkpoint to write.
        seed: Random seed of the weights.
        bare: Save the weights of the network alone, as public archives do.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = registry.build(config)
    state = (model.network if bare else model).state_dict()
    names = [f'class {index}' for index in range(model.num_classes)]
    meta = {} if bare else dict(meta=dict(dataset_meta=dict(classes=names)))
    torch.save(dict(meta, **{'model' if bare else 'state_dict': state}), path)
    return dict(config=config, checkpoint=str(path))


def class_logits_term(**changes: Any) -> dict[str, Any]:
    """Return a term with WKD-L on the logits; changes go into the loss."""
    return dict(
        tap='logits', loss=dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), **changes)
    )


def module_term(tap: str = 'layer3', **changes: Any) -> dict[str, Any]:
    """Return a term with WKD-F on a module and a 1 x 1 connector; changes go into the term."""
    term = dict(
        tap=tap,
        connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
        loss=dict(type='WKDFeatureLoss', grid=2, loss_weight=0.05),
    )
    return dict(term, **changes)


def image_batch(
    count: int = 4, *, size: int = 32, num_classes: int = 10, seed: int = 0
) -> list[Tensor]:
    """Return bytes of images ``(N, 3, size, size)`` and labels ``(N,)``, as a loader does."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return [images, torch.randint(0, num_classes, (count,), generator=generator)]


class _ToyClassifier(BaseModel):
    """Classifies vectors of 4 into 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor, target: Tensor, mode: str = 'loss') -> dict[str, Tensor]:
        """Losses; the toy has no other mode."""
        return self.loss(inputs, target)

    def loss(self, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross entropy."""
        return dict(loss_cls=nn.functional.cross_entropy(self.layer(inputs), target))


class ToyModel(DistilledModel, _ToyClassifier):
    """Classifies vectors of 4 into 3 classes and learns from another such layer.

    Args:
        distill: The section ``distill``, with the taps ``toy_logits`` and ``toy_features``.
    """

    def __init__(self, distill: Mapping[str, Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            nn.Linear(4, 3)  # the student's, so that the teacher is another one
            self.distiller = Distiller(distill, self, {ONLY: {}})
            self.distiller.attach(self, {ONLY: Teacher(nn.Linear(4, 3))})
        self.teacher_runs = 0

    def find_tap(self, section: str, name: Any) -> type[Tap]:
        return find_tap(section, name)

    def num_classes_of(self, model: nn.Module) -> int:
        return 3

    def trunk_end(self) -> str:
        return 'layer'

    def _views(
        self, inputs: Tensor, target: Tensor
    ) -> tuple[_ToyStudentView, dict[str, _ToyTeacherView]]:
        teachers = {name: _ToyTeacherView(self, inputs) for name in self.distiller.live_teachers}
        return _ToyStudentView(self, inputs, target), teachers


class _ToyStudentView(StudentView):
    def __init__(self, model: ToyModel, inputs: Tensor, target: Tensor) -> None:
        super().__init__(model, inputs)
        self._target = target
        self._outputs = Recorded()

    def output(self, module: str) -> Tensor:
        return self._outputs[module]

    def logits(self, stage: int = 0) -> Tensor:
        return self.output('layer')

    def labels(self, stage: int = 0) -> Tensor:
        return self._target

    @contextmanager
    def recording(self) -> Iterator[None]:
        with recording(self.module, ['layer'], into=self._outputs):
            yield


class _ToyTeacherView(TeacherView):
    def __init__(self, model: ToyModel, inputs: Tensor) -> None:
        super().__init__(model.distiller.teacher.module)
        self._model = model
        self._inputs = inputs

    def start(self) -> None:
        self.logits()

    def output(self, module: str) -> Tensor:
        return self.logits()

    def logits(self, stage: int = 0) -> Tensor:
        return self.once('logits', self._run)

    @torch.no_grad()
    def _run(self) -> Tensor:
        self._model.teacher_runs += 1
        return self.module(self._inputs)


@TAPS.register_module('toy_logits')
class _ToyLogitsTap(Tap):
    yields: ClassVar[str] = 'logits'
    compares_classes: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ('target',)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        return Binding(num_classes=3)

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        target = student.labels()
        return [dict(student=student.logits(), teacher=teacher.logits(), target=target)]


@TAPS.register_module('toy_features')
class _ToyFeaturesTap(Tap):
    yields: ClassVar[str] = 'features'

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        return Binding(slots=(Slot(3, 3),))

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        features = connectors[0](student.logits()[:, :, None, None])
        return [dict(student=features, teacher=teacher.logits()[:, :, None, None])]
