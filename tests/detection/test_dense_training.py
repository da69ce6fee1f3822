"""Runs with terms of dense heads and of queries: resumed with averaged weights, and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from make_mini_dataset import CLASSES
from query_cases import tiny_queries
from tiny_training import config_of, prepare, train
from wkd_det.detection.export import plain_config
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.testing import distilled_from, save_detector, tiny_detector

STEPS, STOP = 4, 2
WKD = dict(type='WKDSigmoidLoss', cost=dict(type='ClassifierCost'))
TERMS = dict(
    GFL=dict(
        loss_wkd=dict(tap='dense_logits', places='top', top=9, average='places', loss=WKD),
        loss_w1=dict(tap='box_distributions', loss=dict(type='BoxWassersteinLoss')),
        loss_cross=dict(tap='crossed_dense_logits', depth=1, loss=dict(type='QualityFocalKDLoss')),
    ),
    DeformableDETR=dict(
        loss_wkd=dict(tap='query_logits', layers='all', loss=WKD),
        loss_boxes=dict(
            tap='query_boxes', pair_by='teacher', top=5, loss=dict(type='QueryBoxLoss')
        ),
        loss_memory=dict(tap='memory', levels=[0], loss=dict(type='FitNetLoss')),
    ),
)


def detector(kind, *, wider=False):
    if kind == 'GFL':
        return tiny_detector('GFL', num_classes=10, fpn_channels=24 if wider else 16)
    return tiny_queries(kind, num_classes=10, base_channels=10 if wider else 8)


def config_in(folder, name, kind, teacher):
    config = config_of(folder, folder / name, STEPS, STOP)
    config.model = distilled_from(detector(kind), teacher, TERMS[kind])
    config.train_dataloader.sampler.type = 'InfiniteSampler'
    config.custom_hooks = [dict(type='EMAHook')]
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    return config


@pytest.fixture(scope='module', params=TERMS)
def runs(request, tmp_path_factory):
    """Last checkpoints of a run, and of one that goes on from its middle; the config."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    prepare(folder, images=6)
    config = detector(kind, wider=True)
    path = folder / 'teacher.pth'
    save_detector(config, path, class_names=list(CLASSES)[::-1])  # found by name
    whole = config_in(folder, 'whole', kind, dict(config=config, checkpoint=str(path)))
    train(whole)
    resumed = whole.copy()
    resumed.work_dir = str(folder / 'resumed')
    torch.manual_seed(1)
    train(resumed, resume=Path(whole.work_dir) / f'iter_{STOP}.pth')
    last = (Path(one.work_dir) / f'iter_{STEPS}.pth' for one in (whole, resumed))
    return *(read_checkpoint(path) for path in last), whole, kind


def test_a_resumed_run_is_the_uninterrupted_one(runs):
    one, other, _, kind = runs
    for part in ('state_dict', 'ema_state_dict'):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            assert torch.equal(value, other[part][key]), key
    logs = [content['message_hub']['log_scalars'] for content in (one, other)]
    for name in TERMS[kind]:
        values = [log[f'train/{name}'].data[0] for log in logs]
        assert (values[0] == values[1]).all()
        assert (values[0] > 0).all()


def test_the_student_in_the_checkpoint_is_plain(runs):
    state = runs[0]['state_dict']
    kind = runs[3]
    plain = MODELS.build(detector(kind))
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert missing == []
    assert unexpected == ['distiller.terms.loss_wkd.loss.transport.cost']
    assert state[unexpected[0]].any()
    exported = plain_config(runs[2])
    assert exported.model.type == kind
    assert not {'teacher', 'distill'} & set(exported.model)
