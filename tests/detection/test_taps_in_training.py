"""Runs with terms of heads, queries and maps: resumed with averaged weights, and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from mini_dataset.digits import CLASSES
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
    TimmMaps=dict(
        loss_fitnet=dict(
            tap='neck',
            levels=[1],
            teacher_levels=[0],
            connector=dict(type='ConvConnector', norm_cfg=None),
            loss=dict(type='FitNetLoss'),
        ),
    ),
)
COST = ['distiller.terms.loss_wkd.loss.transport.cost']
CONVOLUTION = 'distiller.terms.loss_fitnet.connectors.0.conv.conv'
KEPT = dict(
    GFL=COST,
    DeformableDETR=COST,
    TimmMaps=[f'{CONVOLUTION}.weight', f'{CONVOLUTION}.bias'],
)
"""Keys of a checkpoint in addition to those of the plain student."""


def detector(kind, *, wider=False):
    if kind in ('GFL', 'TimmMaps'):
        return tiny_detector('GFL', num_classes=10, fpn_channels=24 if wider else 16)
    return tiny_queries(kind, num_classes=10, base_channels=10 if wider else 8)


def teacher_in(folder, kind):
    """A detector, or a network of timm that is none; weights in the folder."""
    path = folder / 'teacher.pth'
    if kind == 'TimmMaps':
        small = dict(embed_dim=32, num_heads=2, depth=2, img_size=98, stride=16)
        config = dict(type='TimmMaps', name='vit_small_patch14_reg4_dinov2', **small)
        torch.save(MODELS.build(dict(config)).backbone.network.state_dict(), path)
    else:
        config = detector(kind, wider=True)
        save_detector(config, path, class_names=list(CLASSES)[::-1])  # found by name
    return dict(config=config, checkpoint=str(path))


def config_in(folder, name, kind, teacher):
    config = config_of(folder, folder / name, STEPS, STOP)
    config.model = distilled_from(detector(kind), teacher, TERMS[kind])
    config.train_dataloader.sampler.type = 'InfiniteSampler'
    config.optim_wrapper.accumulative_counts = 2 if kind == 'TimmMaps' else 1
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
    whole = config_in(folder, 'whole', kind, teacher_in(folder, kind))
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
    assert unexpected == KEPT[kind]
    assert all(state[key].any() for key in unexpected)
    exported = plain_config(runs[2])
    assert exported.model.type == detector(kind).type
    assert not {'teacher', 'distill'} & set(exported.model)
