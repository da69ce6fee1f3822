"""Models of a config with random weights, and training steps that can be repeated."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from wkd_det.runtime.config import read_config
from wkd_det.runtime.state import weights_of
from wkd_det.testing.classifiers import save_classifier
from wkd_det.testing.detectors import save_detector

ROOT = Path(__file__).resolve().parents[2]


def untrained(config: Config, *, teacher: str | None = None) -> nn.Module:
    """Return the model of a config, with its teacher if it has one; all weights are random.

    Needs no file but the configs and downloads nothing: random weights cost as much as trained
    ones.

    Args:
        config: Config of a plain or a distilled detector.
        teacher: Config of the teacher, instead of the one that ``config`` names.
    """
    model = copy.deepcopy(config.model)
    with tempfile.TemporaryDirectory() as folder:
        if 'teacher' in model:
            path = Path(folder) / 'teacher.pth'
            model.teacher = random_teacher(teacher or model.teacher.config, path)
        return initialised(model)


def random_teacher(config: str, path: Path) -> dict[str, Any]:
    """Save random weights of a detector or classifier; return the ``teacher`` section for them.

    Args:
        config: Path or name of the teacher's config.
        path: Checkpoint to write.
    """
    model = _without_downloads(_model_of(config))
    if 'backbone' not in model:
        return save_classifier(model, path)
    save_detector(model, path)
    return dict(config=model, checkpoint=str(path))


def initialised(model: ConfigDict) -> nn.Module:
    """Return a model with random weights, ready to train.

    The student's are the same whatever the model is distilled with. A teacher is loaded from its
    checkpoint.
    """
    torch.manual_seed(0)
    built = MODELS.build(_without_downloads(copy.deepcopy(model)))
    built.init_weights()
    return built.train()


def plain_student(config: Config, distilled: nn.Module) -> nn.Module:
    """Return the plain detector of a distilled one, with the same weights."""
    plain = MODELS.build(plain_detector(config))
    state = distilled.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.train()


def plain_detector(config: Config) -> ConfigDict:
    """Return the model of a distilled detector's config without teacher and terms."""
    model = ConfigDict(config.model, type=config.model.type.removeprefix('Distilled'))
    return ConfigDict({k: v for k, v in model.items() if k not in ('teacher', 'distill')})


def classifiers(config: Config) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    """Return a distilled classifier, the plain one with the same weights, and the teacher.

    All weights are random; the teacher is None where the config has none.
    """
    model = copy.deepcopy(config.model)
    with tempfile.TemporaryDirectory() as folder:
        if 'teacher' in model:
            model.teacher = random_teacher(model.teacher.config, Path(folder) / 'teacher.pth')
        distilled = initialised(model)
    plain = MODELS.build(plain_classifier(config))
    plain.load_state_dict(weights_of(distilled.state_dict()))
    teacher = distilled.distiller.teacher.module if 'teacher' in model else None
    return distilled, plain.train(), teacher


def plain_classifier(config: Config) -> ConfigDict:
    """Return the model of a distilled classifier's config without teacher and terms."""
    kept = {key: config.model[key] for key in ('network', 'data_preprocessor')}
    return ConfigDict(kept, type='Classifier')


def teacher_forward(teacher: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a call of the teacher on normalised images, without a graph."""

    @torch.no_grad()
    def forward() -> None:
        teacher(inputs)

    return forward


def training_step(
    model: nn.Module, config: Config, data: dict[str, Any] | list[Tensor], *, amp: bool = False
) -> Callable[[], dict[str, Any]]:
    """Return a step with the optimizer of the config: forward, backward and update.

    The learning rate is 0 and the seed fixed, so every call does the same work on the same RoIs.

    Args:
        model: In training mode, on its device.
        config: Has the section ``optim_wrapper``.
        data: A batch as a loader gives it.
        amp: Train in mixed precision, as ``--amp`` does.
    """
    section = copy.deepcopy(config.optim_wrapper)
    section.optimizer.lr = 0.0
    if amp:
        section.update(type='AmpOptimWrapper', loss_scale='dynamic')
    optimizer = build_optim_wrapper(model, section)

    def step() -> dict[str, Any]:
        torch.manual_seed(0)
        return model.train_step(data, optimizer)

    return step


def _model_of(config: str) -> ConfigDict:
    return read_config(config if '::' in config else ROOT / config).model


def _without_downloads(model: ConfigDict) -> ConfigDict:
    """Take out where weights come from, in place."""
    model.pop('weights', None)
    if 'backbone' in model:
        model.backbone.init_cfg = None
    return model
