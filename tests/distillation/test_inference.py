"""Inference of the teacher: every form of it against the unchanged one."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from wkd_det.distillation.inference import Inference, autocast_type
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

CONV = dict(type='ConvConnector', kernel_size=3)
FITNET = dict(type='FitNetLoss')
DETECTOR_TERMS = dict(
    loss_wkd_l=wkd_l_term(),
    loss_wkd_f=wkd_f_term(),
    loss_neck=wkd_f_neck_term(),
    loss_backbone=dict(tap='backbone', levels=[2], connector=CONV, loss=FITNET),
    loss_module=dict(tap='backbone.layer3', connector=CONV, loss=FITNET),
    loss_inner=dict(tap='backbone.layer1.0.conv1', connector=CONV, loss=FITNET),
    loss_dense=dict(tap='neck.fpn_convs.0.conv:input', connector=CONV, loss=FITNET),
    loss_there=dict(tap='crossed_logits', head='teacher', connector=CONV, loss=dict(type='KDLoss')),
    loss_back=dict(tap='crossed_logits', head='student', connector=CONV, loss=dict(type='KDLoss')),
    loss_box=dict(tap='roi_boxes', loss=dict(type='BoxLoss')),
)
BRIDGE = dict(type='BridgeConnector')
CLASSIFIER_TERMS = dict(
    loss_wkd_l=class_logits_term(),
    loss_wkd_f=module_term(),
    loss_inner=module_term('layer2.0.conv1'),
    loss_norm=module_term('layer2.0.bn1'),
    loss_there=dict(tap='crossed_logits', connector=BRIDGE, loss=dict(type='KDLoss')),
    loss_maps=dict(tap='crossed_features', connector='loss_there', loss=FITNET),
    loss_srrl=dict(tap='last', connector=dict(type='ConvConnector'), loss=dict(type='SRRLLoss')),
)


def spread(module):
    """Give batch normalisations statistics of some training."""
    generator = torch.Generator().manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.normal_(0, 0.1, generator=generator)
            one.running_var.uniform_(0.5, 1.5, generator=generator)


def saved(section):
    checkpoint = torch.load(section['checkpoint'])
    key = 'state_dict' if 'state_dict' in checkpoint else 'model'
    model = MODELS.build(copy.deepcopy(section['config']))
    model.load_state_dict(checkpoint[key])
    spread(model)
    torch.save({**checkpoint, key: model.state_dict()}, section['checkpoint'])
    return section


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('teachers')
    detector = tiny_faster_rcnn(base_channels=12, fpn_channels=24)
    save_detector(detector, folder / 'detector.pth')
    section = dict(config=detector, checkpoint=str(folder / 'detector.pth'))
    classifier = save_classifier(classifier_config('resnet14'), folder / 'classifier.pth')
    return dict(detector=saved(section), classifier=saved(classifier))


def build(teachers, kind, inference=None):
    section = dict(teachers[kind])
    if inference is not None:
        section['inference'] = inference
    torch.manual_seed(0)
    if kind == 'detector':
        model = MODELS.build(distilled_config(section, DETECTOR_TERMS))
    else:
        config = classifier_config(teacher=section, distill=CLASSIFIER_TERMS, image_size=32)
        model = MODELS.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    return model.train()


def amp(on):
    return torch.autocast('cpu', torch.bfloat16) if on else contextlib.nullcontext()


def step(model, kind, *, autocast=False):
    """Losses of the terms, and the gradient of all parameters as one vector."""
    batch = random_batch([(64, 96), (60, 64)]) if kind == 'detector' else image_batch()
    data = model.data_preprocessor(batch, True)
    given = (data['inputs'], data['data_samples']) if kind == 'detector' else data
    torch.manual_seed(1)
    with amp(autocast):
        losses = model.loss(*given)
    model.zero_grad()
    # Each term counts alike, whatever its weight.
    sum(losses[name] / losses[name].detach() for name in model.distiller.terms).backward()
    grads = [p.grad.flatten().double() for p in model.parameters() if p.grad is not None]
    values = {name: losses[name].detach().double() for name in model.distiller.terms}
    return values, torch.cat(grads)


@pytest.fixture(scope='module')
def unchanged(teachers):
    """Values and gradient with the teacher as it is, without autocast."""
    init_default_scope('mmdet')
    return {kind: step(build(teachers, kind), kind) for kind in teachers}


def differences(unchanged, teachers, kind, inference):
    """Largest relative difference of a term's value, and that of the gradient."""
    own, own_grad = unchanged[kind]
    other, grad = step(build(teachers, kind, inference), kind)
    each = [(abs(other[name] - value) / value).item() for name, value in own.items()]
    print(kind, inference, {name: f'{value:.1e}' for name, value in zip(own, each)})
    return max(each), ((grad - own_grad).norm() / own_grad.norm()).item()


BOTH = pytest.mark.parametrize('kind', ['detector', 'classifier'])


# Forms of the same values


@BOTH
@pytest.mark.parametrize('inference', [dict(dtype='float32'), dict(dtype='autocast')], ids=str)
def test_without_autocast_these_change_no_bit(unchanged, teachers, kind, inference):
    assert differences(unchanged, teachers, kind, inference) == (0, 0)


@BOTH
def test_weights_that_are_cast_once_change_no_bit_under_autocast(teachers, kind):
    model, plain = build(teachers, kind, dict(dtype='autocast')), build(teachers, kind)
    for _ in range(2):  # the second step takes the kept weights
        own, other = (step(one, kind, autocast=True) for one in (plain, model))
        assert own[0] == other[0]
        assert torch.equal(own[1], other[1])
    # Off again, on again: the weights themselves are as they were.
    assert step(plain, kind)[0] == step(model, kind)[0]
    assert step(plain, kind, autocast=True)[0] == step(model, kind, autocast=True)[0]


# Rounding of float32 is 6e-8. A layer multiplies it by some units, and gradients of normalised maps
# by more: what is measured here is at most a third of these.
@BOTH
@pytest.mark.parametrize(
    ('inference', 'value', 'gradient'),
    [
        (dict(channels_last=True), 1e-5, 1e-4),
        (dict(fuse=True), 1e-5, 1e-4),
        (dict(dtype='float32', channels_last=True, fuse=True), 1e-5, 1e-4),
        (dict(dtype='half'), 1e-2, 3e-2),
        (dict(dtype='bfloat16'), 1e-1, 2e-1),
        (dict(dtype='bfloat16', channels_last=True, fuse=True), 1e-1, 2e-1),
    ],
    ids=str,
)
def test_the_others_keep_values_and_gradients_to_a_tolerance(
    unchanged, teachers, kind, inference, value, gradient
):
    if inference.get('dtype') == 'half' and torch.__version__ < (2, 3):
        pytest.skip('no convolutions of half precision on a CPU')
    found = differences(unchanged, teachers, kind, inference)
    print(kind, inference, found, flush=True)
    assert 0 < found[0] < value
    assert 0 < found[1] < gradient
