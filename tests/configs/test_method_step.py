"""A training step of each mini config's terms; of GFL and DINO, of the whole configs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mini_dataset.digits import CLASSES
from wkd_det.testing import distilled_config, random_batch, save_detector

ROOT = Path(__file__).parents[2]
DISTILLED = [
    path
    for path in sorted((ROOT / 'configs/mini').glob('*.py'))
    if not path.stem.endswith(('_student', '_teacher'))
]
WHOLE = [path for path in DISTILLED if path.stem.endswith(('_gfl', '_dino'))]
CONFIGS = [path for path in DISTILLED if path not in WHOLE]
pytestmark = pytest.mark.usefixtures('from_the_root')


def step(config, num_classes):
    """Losses of a step of a model, behind which the gradients are found in it."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model.train()
    # Images of two sizes: the smaller one has padding, which must not count.
    batch = random_batch([(96, 128), (64, 96)], num_classes=num_classes)
    data = model.data_preprocessor(batch, True)
    return model, model.loss(data['inputs'], data['data_samples'])


def check_terms(model, losses):
    names = list(model.distiller.terms)
    for name in names:
        assert losses[name].isfinite(), name
        assert losses[name] > 0, name
    sum(losses[name] for name in names).backward()
    reached = [p for p in model.backbone.parameters() if p.grad is not None and p.grad.any()]
    assert len(reached) > 20
    for name, parameter in model.distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_one_step_between_tiny_detectors_of_different_widths(path, teacher_section):
    terms = Config.fromfile(path).model.distill
    check_terms(*step(distilled_config(teacher_section, terms), 4))


def untrained(path):
    """The model of a config, whose backbone would begin with weights of an earlier training."""
    config = Config.fromfile(path).model
    config.backbone.init_cfg = None
    return config


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teachers')
    paths = {kind: folder / f'{kind}.pth' for kind in ('gfl', 'dino')}
    for kind, path in paths.items():
        config = untrained(ROOT / f'configs/mini/{kind}_teacher.py')
        save_detector(config, path, class_names=list(CLASSES))
    return {kind: str(path) for kind, path in paths.items()}


@pytest.mark.parametrize('path', WHOLE, ids=lambda path: path.stem)
def test_one_step_of_a_whole_config(path, teachers):
    config = untrained(path)
    config.teacher.checkpoint = teachers[path.stem.rpartition('_')[2]]
    check_terms(*step(config, 10))


@pytest.mark.parametrize('name', ['gfl_student', 'dino_student', 'dino_teacher'])
def test_one_step_of_a_plain_detector(name):
    model, losses = step(untrained(ROOT / f'configs/mini/{name}.py'), 10)
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
