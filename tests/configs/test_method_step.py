"""A training step of each mini config's terms, between tiny detectors of different widths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from wkd_det.testing import distilled_config, random_batch

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path
    for path in (ROOT / 'configs/mini').glob('*.py')
    if not path.name.startswith('faster-rcnn_')
)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_one_step(path, teacher_section, monkeypatch):
    monkeypatch.chdir(ROOT)
    terms = Config.fromfile(path).model.distill
    torch.manual_seed(0)
    model = MODELS.build(distilled_config(teacher_section, terms))
    model.init_weights()
    model.train()
    # Images of two sizes: the smaller one has padding, which must not count.
    data = model.data_preprocessor(random_batch([(96, 128), (64, 96)]), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    for name in terms:
        assert losses[name].isfinite(), name
        assert losses[name] > 0, name
    sum(losses[name] for name in terms).backward()
    reached = [p for p in model.backbone.parameters() if p.grad is not None and p.grad.any()]
    assert len(reached) > 20
    for name, parameter in model.distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
