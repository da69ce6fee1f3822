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
    model.backbone.init_cfg = None
    with tempfile.TemporaryDirectory() as folder:
        if 'teacher' in model:
            teacher_model = _model_of(teacher or model.teacher.config)
            teacher_model.backbone.init_cfg = None
            path = Path(folder) / 'teacher.pth'
            save_detector(teacher_model, path)
            model.teacher = dict(config=teacher_model, checkpoint=str(path))
        torch.manual_seed(0)
        built = MODELS.build(model)
        built.init_weights()
    return built.train()


def plain_student(config: Config, distilled: nn.Module) -> nn.Module:
    """Return the plain detector of a distilled one, with the same weights."""
    model = ConfigDict(config.model, type=config.model.type.removeprefix('Distilled'))
    plain = MODELS.build({k: v for k, v in model.items() if k not in ('teacher', 'distill')})
    state = distilled.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.train()


def classifiers(config: Config) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    """Return a distilled classifier, the plain one with the same weights, and the teacher.

    All weights are random; the teacher is None where the config has none.
    """
    model = copy.deepcopy(config.model)
    model.pop('weights', None)
    with tempfile.TemporaryDirectory() as folder:
        if 'teacher' in model:
            teacher = _model_of(model.teacher.config)
            teacher.pop('weights', None)
            model.teacher = save_classifier(teacher, Path(folder) / 'teacher.pth')
        torch.manual_seed(0)
        distilled = MODELS.build(model)
        distilled.init_weights()
    plain = {key: config.model[key] for key in ('network', 'data_preprocessor')}
    plain = MODELS.build(dict(plain, type='Classifier'))
    plain.load_state_dict(weights_of(distilled.state_dict()))
    teacher = distilled.distiller.teacher.module if 'teacher' in model else None
    return distilled.train(), plain.train(), teacher


def teacher_forward(teacher: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a call of the teacher on normalised images, without a graph."""

    @torch.no_grad()
    def forward() -> None:
        teacher(inputs)

    return forward


def training_step(
    model: nn.Module, config: Config, data: dict[str, Any] | list[Tensor]
) -> Callable[[], dict[str, Any]]:
    """Return a step with the optimizer of the config: forward, backward and update.

    The learning rate is 0 and the seed fixed, so every call does the same work on the same RoIs.
    """
    section = copy.deepcopy(config.optim_wrapper)
    section.optimizer.lr = 0.0
    optimizer = build_optim_wrapper(model, section)

    def step() -> dict[str, Any]:
        torch.manual_seed(0)
        return model.train_step(data, optimizer)

    return step


def _model_of(config: str) -> ConfigDict:
    return read_config(config if '::' in config else ROOT / config).model
