"""Every method for classifiers trains on digits: its terms teach, and a checkpoint goes on."""

from __future__ import annotations

import copy
import functools
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from config_catalogue.catalogue import Catalogue
from wkd_det import registry

CATALOGUE = Catalogue()
COMBINATIONS = [
    (method, pair)
    for pair in CATALOGUE.pairs
    if pair.data.startswith('digits')
    for method in CATALOGUE.methods_for(pair)
]
pytestmark = pytest.mark.usefixtures('from_the_root')


@pytest.fixture(scope='module')
def teacher_file(tmp_path_factory):
    torch.manual_seed(0)
    config = Config.fromfile('configs/classification/digits/baseline/resnet20_teacher.py').model
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(registry.build(config).state_dict(), path)
    return str(path)


@functools.cache
def batches_of(section):
    """Two batches of eight digits, as the data set of a config (in JSON) gives them."""
    loader = Runner.build_dataloader(
        dict(
            batch_size=8,
            num_workers=0,
            dataset=json.loads(section),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='collate_images'),
        ),
        seed=0,
    )
    return [batch for _, batch in zip(range(2), loader)], loader.dataset.labels()


def built(config, labels):
    """The model of a config, as training builds it."""
    model = registry.build(copy.deepcopy(config.model))
    model.init_weights()
    if any(hook.type == 'SampleTableHook' for hook in config.get('custom_hooks', [])):
        model.distiller.set_samples(labels)
    return model.train()


@pytest.mark.parametrize(
    ('method', 'pair'), COMBINATIONS, ids=[f'{m.name}-{p.name}' for m, p in COMBINATIONS]
)
def test_two_steps_and_a_checkpoint(method, pair, teacher_file, configs_of):
    config = copy.deepcopy(configs_of(pair, {method.name})[method.name])
    if 'teacher' in config.model:
        config.model.teacher.checkpoint = teacher_file
    batches, labels = batches_of(json.dumps(config.train_dataloader.dataset))
    torch.manual_seed(0)
    model = built(config, torch.as_tensor(labels))
    terms = list(config.model.distill)
    optimizer = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    trained = {n: p for n, p in model.distiller.named_parameters() if p.requires_grad}
    before = {name: value.detach().clone() for name, value in trained.items()}
    logs = []
    for batch, kind in zip(batches, (torch.float32, torch.bfloat16)):
        with torch.autocast('cpu', torch.bfloat16, enabled=kind == torch.bfloat16):
            images, targets = model.data_preprocessor(batch, True)
            losses = model(images, targets, mode='loss')
            total, log = model.parse_losses(losses)
        for name in terms:
            assert log[name].isfinite(), (name, kind)
            assert log[name] != 0, (name, kind)
        optimizer.update_params(total)
        logs.append(log)
    for name, value in model.distiller.named_parameters():
        assert value.isfinite().all(), name
    idle = [name for name, value in trained.items() if value.equal(before[name])]
    assert idle == []  # own networks are trained

    # A checkpoint of the second step gives the third one.
    other = built(config, torch.as_tensor(labels))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    found = []
    for one in (model, other):
        torch.manual_seed(1)
        images, targets = one.data_preprocessor(batches[0], True)
        found.append(one(images, targets, mode='loss'))
    assert {key: value.item() for key, value in found[0].items()} == {
        key: value.item() for key, value in found[1].items()
    }
    plain = {key for key in model.state_dict() if not key.startswith('distiller.')}
    student = registry.build(
        {
            key: value
            for key, value in config.model.items()
            if key not in ('teacher', 'distill', 'image_size')
        }
        | dict(type='Classifier')
    )
    assert set(student.state_dict()) == plain
