"""Relations and contrast in a distilled classifier: built by config, trained, saved, resumed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from wkd_det import registry
from wkd_det.classification.targets import Targets
from wkd_det.testing import classifier_config, image_batch, save_classifier

ROOT = Path(__file__).parents[2]
BANKS = dict(num_samples=12, negatives=5, width=8)
LINEAR = dict(type='ConvConnector', norm_cfg=None)
TERMS = dict(
    RKD=dict(loss=dict(type='RKDLoss')),
    PKT=dict(loss=dict(type='PKTLoss')),
    CC=dict(loss=dict(type='CCLoss', width=8)),
    IPOT=dict(loss=dict(type='IPOTLoss', outer=5), connector=LINEAR),
    CRD=dict(loss=dict(type='CRDLoss', **BANKS)),
    WCoRD=dict(loss=dict(type='WCoRDLoss', **BANKS)),
)
METHODS = pytest.mark.parametrize('method', TERMS)
INDEX = torch.tensor([7, 0, 11, 3])
SAMPLES = torch.arange(12) % 4


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """Four times as wide as the student."""
    folder = tmp_path_factory.mktemp('wide')
    return save_classifier(classifier_config('resnet8x4'), folder / 'teacher.pth')


def build(method, teacher, seed=0, **changes):
    torch.manual_seed(seed)
    distill = dict(loss_x=dict(TERMS[method], tap='pool'))
    config = dict(type='DistilledClassifier', teacher=teacher, distill=distill, image_size=32)
    model = registry.build(copy.deepcopy(classifier_config(**config, **changes)))
    model.init_weights()
    if model.distiller.keeps_samples:
        model.distiller.set_samples(SAMPLES)
    return model.train()


def loss_of(model, seed=0):
    images, labels = model.data_preprocessor(image_batch(seed=seed), True)
    torch.manual_seed(seed)  # negatives
    return model.loss(images, Targets(labels, indices=INDEX))['loss_x']


def step(model, optimizer, seed):
    optimizer.zero_grad()
    loss = loss_of(model, seed)
    loss.backward()
    optimizer.step()
    return loss.detach()


@METHODS
def test_two_steps_and_a_third_from_the_checkpoint(method, teacher):
    model = build(method, teacher)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    assert all(step(model, optimizer, seed).isfinite() for seed in (1, 2))
    still = [
        name
        for name, parameter in model.named_parameters()
        if torch.equal(parameter, before[name]) and not name.startswith('network.fc.')
    ]
    assert not still  # the last layer alone learns nothing from its input
    other = build(method, teacher, seed=5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(loss_of(other, 3), loss_of(model, 3))


@METHODS
def test_mixed_precision(method, teacher):
    model = build(method, teacher)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = loss_of(model)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_widths_that_differ_need_a_connector_for_transport_alone(teacher, monkeypatch):
    monkeypatch.setitem(TERMS, 'IPOT', dict(loss=dict(type='IPOTLoss')))
    with pytest.raises(ValueError, match='^distill.loss_x needs a connector: the student has'):
        build('IPOT', teacher)


@pytest.mark.parametrize('method', ['CRD', 'WCoRD'])
def test_classes_of_another_number_of_samples(method, teacher):
    model = build(method, teacher)
    message = r'^labels must have the shape \(num_samples,\) = \(12,\), got \(3,\)$'
    with pytest.raises(ValueError, match=message):
        model.distiller.set_samples(torch.arange(3))


def test_banks_of_a_resumed_run_are_those_of_an_uninterrupted_one(teacher, tmp_path, monkeypatch):
    # Half of the time of runs as short as these goes into the layout of their configs.
    monkeypatch.setattr(Config, 'pretty_text', property(lambda config: ''))
    init_default_scope('mmdet')
    config = Config.fromfile(ROOT / 'configs/classification/digits/wkd-lf_digits.py')
    weights = torch.load(teacher['checkpoint'], weights_only=True)['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'teacher.pth')  # without names of classes
    config.model.teacher = dict(teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    config.train_dataloader.dataset.with_index = True
    samples = len(registry.build(config.train_dataloader.dataset, 'DATASETS'))
    config.model.distill = {
        f'loss_{method}': dict(tap='pool', loss=dict(TERMS[method]['loss'], num_samples=samples))
        for method in ('CRD', 'WCoRD')
    }
    config.custom_hooks = [dict(type='SampleTableHook')]
    config.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    config.merge_from_dict(
        {
            'train_cfg.max_iters': 4,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'default_hooks.checkpoint.interval': 2,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'default_hooks.logger.interval': 1,
        }
    )
    runs = []
    for name, changes in (
        ('whole', {}),
        ('resumed', dict(resume=True, load_from=str(tmp_path / 'whole/iter_2.pth'))),
    ):
        own = copy.deepcopy(config)
        own.merge_from_dict(dict(changes, work_dir=str(tmp_path / name)))
        own.experiment_name = f'{tmp_path.name}_{name}'
        runs.append(Runner.from_cfg(own))
        runs[-1].train()
    whole, resumed = (run.model.state_dict() for run in runs)
    assert sum('banks' in key for key in whole) == 4
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
