"""Methods that compare maps, by config in a distilled classifier: a step with all of them."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from wkd_det import registry
from wkd_det.losses.ofd import ofd_margin
from wkd_det.testing import classifier_config, image_batch, save_classifier

CONV = dict(type='ConvConnector')
RELU = dict(type='ConvConnector', act_cfg=dict(type='ReLU'))
BIASED = dict(type='ConvConnector', norm_cfg=None)
METHODS = {
    'FitNet': dict(
        tap='middle',
        connector=dict(type='RegressorConnector'),
        loss=dict(type='FitNetLoss', loss_weight=200.0),
    ),
    'ICKD-C': dict(tap='last', connector=CONV, loss=dict(type='ICKDLoss', loss_weight=2.5)),
    'NST': dict(tap='stages', modules='stages', loss=dict(type='NSTLoss', loss_weight=50.0)),
    'AT': dict(tap='stages', modules='stages', loss=dict(type='ATLoss', loss_weight=1000.0)),
    'SP': dict(tap='last', loss=dict(type='SPLoss', loss_weight=3000.0)),
    'MGD': dict(tap='last', connector=BIASED, loss=dict(type='MGDLoss', alpha=1.2e-3)),
    'CAT-KD': dict(tap='class_activation', loss=dict(type='CATKDLoss', loss_weight=15.0)),
    'SRRL': dict(tap='last', connector=RELU, loss=dict(type='SRRLLoss', beta=5.0)),
    'VID': dict(tap='pyramid', modules='stages', loss=dict(type='VIDLoss')),
    'OFD': dict(tap='pyramid', modules='stages_before', connector=CONV, loss=dict(type='OFDLoss')),
    'ReviewKD': dict(
        tap='pyramid',
        modules=['stages', 'pool'],
        teacher_modules=['stages_before', 'pool'],
        connector=dict(type='ABFConnector', mid_channels=16, resize=True),
        same_size=False,
        loss=dict(type='ReviewKDLoss', loss_weight=5.0),
    ),
    'FSP': dict(tap='pyramid', modules='stages', connector=CONV, loss=dict(type='FSPLoss')),
    'AB': dict(tap='pyramid', modules='stages_before', connector=CONV, loss=dict(type='ABLoss')),
    'FT': dict(tap='last', loss=dict(type='FTLoss', loss_weight=200.0)),
    'FT, first run': dict(tap='last', loss=dict(type='FTLoss', pretraining=True)),
}
TEACHERS = {'same kind': 'resnet8x4', 'other kind': 'wrn_16_2'}


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teachers')
    return {
        kind: save_classifier(classifier_config(name), folder / f'{name}.pth')
        for kind, name in TEACHERS.items()
    }


def build(teacher, *methods):
    torch.manual_seed(0)
    config = dict(
        classifier_config('resnet8'),
        type='DistilledClassifier',
        image_size=32,
        teacher=teacher,
        distill={f'loss_{index}': method for index, method in enumerate(methods)},
    )
    model = registry.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def step(model):
    """Losses of the terms in a step, after which the parameters have gradients."""
    torch.manual_seed(1)  # some draw
    losses = model.loss(*model.data_preprocessor(image_batch(), True))
    sum(losses.values()).backward()
    return [losses[name] for name in model.distiller.terms]


def test_a_step_and_a_round_trip(teachers):
    model = build(teachers['other kind'], *METHODS.values())
    values = dict(zip(METHODS, step(model)))
    for (name, value), term in zip(values.items(), model.distiller.terms.values()):
        assert value.isfinite(), name
        assert value != 0, name
        for own, parameter in term.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, (name, own)
            assert not parameter.requires_grad or parameter.grad.isfinite().all(), (name, own)
        trained = [one for one in term.loss.parameters() if one.requires_grad]
        assert not trained or any(one.grad.any() for one in trained), name
    torch.optim.SGD(model.parameters(), lr=1e-6).step()
    again = build(teachers['other kind'], *METHODS.values())
    again.load_state_dict(model.state_dict())
    for name, value, expected in zip(METHODS, step(again), step(model)):
        assert torch.equal(value, expected), name


@pytest.mark.parametrize('name', METHODS)
def test_each_reaches_the_student(name, teachers):
    model = build(teachers['same kind'], METHODS[name])
    losses = model.loss(*model.data_preprocessor(image_batch(), True))
    wanted = model.network.conv1.weight
    (gradient,) = torch.autograd.grad(losses['loss_0'], wanted, allow_unused=True)
    reached = gradient is not None and gradient.abs().max() > 0
    assert reached == (name != 'FT, first run')


def test_a_step_in_bfloat16(teachers):
    model = build(teachers['other kind'], *METHODS.values())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        values = step(model)
    for name, value in zip(METHODS, values):
        assert value.dtype == torch.float32, name
        assert value.isfinite(), name
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_margins_are_those_of_the_teachers_normalisations(teachers):
    model = build(teachers['other kind'], METHODS['OFD'])
    network = model.network_of(model.distiller.teacher.module)
    for margin, name in zip(
        model.distiller.terms['loss_0'].loss.margins,
        ('block2.layer.0.bn1', 'block3.layer.0.bn1', 'bn1'),
    ):
        norm = network.get_submodule(name)
        assert torch.equal(margin, ofd_margin(norm.weight, norm.bias))
    assert not [key for key in model.state_dict() if 'margin' in key]


def test_norms_may_be_named(teachers):
    names = [f'layer{stage}.0.bn1' for stage in (1, 2, 3)]
    loss = dict(type='OFDLoss', teacher_norms=names)
    model = build(teachers['same kind'], dict(METHODS['OFD'], loss=loss))
    norm = model.network_of(model.distiller.teacher.module).get_submodule('layer2.0.bn1')
    margin = model.distiller.terms['loss_0'].loss.margin_1
    assert torch.equal(margin, ofd_margin(norm.weight, norm.bias))
    wrong = dict(METHODS['OFD'], loss=dict(loss, teacher_norms=['layer1.0.bn3', *names[1:]]))
    with pytest.raises(KeyError, match=r"no such module: got 'layer1\.0\.bn3'"):
        build(teachers['same kind'], wrong)


def test_the_regressor_meets_another_size(teachers):
    term = dict(METHODS['FitNet'], tap='layer2', teacher_tap='layer3')
    model = build(teachers['same kind'], term)
    connector = model.distiller.terms['loss_0'].connectors[0]
    assert connector.conv.stride == (2, 2)
    assert step(model)[0] > 0


@pytest.mark.parametrize('name', ['ICKD-C', 'FSP', 'OFD', 'AB'])
def test_equal_widths_need_a_connector(name, teachers):
    term = {key: value for key, value in METHODS[name].items() if key != 'connector'}
    message = 'distill.loss_0 needs a connector: the student has '
    with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
        build(teachers['same kind'], term)
