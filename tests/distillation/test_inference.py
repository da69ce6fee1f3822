"""Inference of the teacher: every form of it against the unchanged one."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pooling_under_autocast import pools_under_autocast
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
    return max(each), ((grad - own_grad).norm() / own_grad.norm()).item()


BOTH = pytest.mark.parametrize('kind', ['detector', 'classifier'])


# Forms of the same values


@BOTH
@pytest.mark.parametrize('inference', [dict(dtype='float32'), dict(dtype='autocast')], ids=str)
def test_without_autocast_these_change_no_bit(unchanged, teachers, kind, inference):
    assert differences(unchanged, teachers, kind, inference) == (0, 0)


@BOTH
def test_weights_that_are_cast_once_change_no_bit_under_autocast(teachers, kind):
    if kind == 'detector' and not pools_under_autocast():
        pytest.skip("this torchvision's RoIAlign takes no bfloat16 under autocast")
    model, plain = build(teachers, kind, dict(dtype='autocast')), build(teachers, kind)
    for _ in range(2):  # the second step takes the kept weights
        own, other = (step(one, kind, autocast=True) for one in (plain, model))
        assert own[0] == other[0]
        assert torch.equal(own[1], other[1])
    # Off again, on again: the weights themselves are as they were.
    assert step(plain, kind)[0] == step(model, kind)[0]
    assert step(plain, kind, autocast=True)[0] == step(model, kind, autocast=True)[0]


# Rounding of float32 is 6e-8. Differences of two outputs that are nearly equal, in the crossed
# terms, magnify it to 2e-5; a value that is rounded across 0 changes the slope of a ReLU, which
# moves the gradient of these small networks by 5e-4. Halves are rounded by 1/2048 and 1/256.
@BOTH
@pytest.mark.parametrize(
    ('inference', 'value', 'gradient'),
    [
        (dict(channels_last=True), 1e-4, 2e-3),
        (dict(fuse=True), 1e-4, 2e-3),
        (dict(dtype='float32', channels_last=True, fuse=True), 1e-4, 2e-3),
        (dict(dtype='half'), 2e-3, 3e-2),
        (dict(dtype='bfloat16'), 2e-2, 1e-1),
        (dict(dtype='bfloat16', channels_last=True, fuse=True), 2e-2, 1e-1),
    ],
    ids=str,
)
def test_the_others_keep_values_and_gradients_to_a_tolerance(
    unchanged, teachers, kind, inference, value, gradient
):
    if inference.get('dtype') == 'half' and torch.__version__ < (2, 3):
        pytest.skip('no convolutions of half precision on a CPU')
    found = differences(unchanged, teachers, kind, inference)
    assert 0 < found[0] < value
    assert 0 < found[1] < gradient


# The form


class Casts(TorchDispatchMode):
    """Counts casts of float32 tensors of some shapes."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes, self.count = shapes, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ == '_to_copy' and args[0].dtype == torch.float32:
            self.count += tuple(args[0].shape) in self.shapes
        return function(*args, **(kwargs or {}))


def small():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 7))
    spread(network)
    return network


@pytest.mark.parametrize(('dtype', 'casts'), [(None, [4, 4]), ('autocast', [4, 0])])
def test_weights_are_cast_in_the_first_pass_only(dtype, casts):
    teacher = Teacher(small(), inference=Inference(dtype=dtype))
    teacher.inference.prepare(teacher.module)
    shapes = {tuple(parameter.shape) for parameter in (*teacher.module[0].parameters(),)}
    shapes |= {tuple(parameter.shape) for parameter in teacher.module[3].parameters()}
    found = []
    for _ in casts:
        with torch.no_grad(), amp(True), Casts(shapes) as mode:
            teacher.module(torch.ones(2, 3, 4, 4))
        found.append(mode.count)
    assert found == casts
    assert {p.dtype for p in teacher.module.parameters()} == {torch.float32}


def test_copies_of_a_prepared_teacher_stand_alone():
    network = small().eval()
    Inference(dtype='autocast').prepare(network)
    twin = copy.deepcopy(network)
    twin[0].weight.data.zero_()
    images = torch.ones(2, 3, 4, 4)
    with torch.no_grad(), amp(True):
        assert torch.equal(network[0](images), network[0](images))
        assert twin[0](images).std(dim=(0, 2, 3)).eq(0).all()
        assert network[0](images)[0, 0, 0, 0] != twin[0](images)[0, 0, 0, 0]


def test_half_precision_leaves_normalisations_and_preprocessors(teachers):
    model = build(teachers, 'detector', dict(dtype='bfloat16'))
    teacher = model.distiller.teacher.module
    for name, module in teacher.named_modules():
        kept = isinstance(module, nn.BatchNorm2d) or name == 'data_preprocessor'
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                assert tensor.dtype == (torch.float32 if kept else torch.bfloat16), name
    step(model, 'detector')  # a batch of float32 leaves its type alone
    assert teacher.backbone.conv1.weight.dtype == torch.bfloat16


def test_float32_under_autocast_is_the_teacher_without_autocast(teachers):
    model = build(teachers, 'classifier', dict(dtype='float32'))
    teacher = model.distiller.teacher.module
    images, labels = model.data_preprocessor(image_batch(), True)
    with torch.no_grad():
        expected = teacher.network(images)
    with amp(True):
        view = model._views(images, labels)[1]['teacher']
        assert torch.equal(view.logits(), expected)
        assert view.output('layer3').dtype == torch.float32


@BOTH
def test_taps_get_the_type_of_the_batch_and_the_usual_layout(teachers, kind):
    model = build(teachers, kind, dict(dtype='bfloat16', channels_last=True, fuse=True))
    seen = []
    for term in model.distiller.terms.values():
        term.loss.register_forward_pre_hook(
            lambda module, args, given: seen.append(given['teacher']), with_kwargs=True
        )
    step(model, kind)
    assert {tensor.dtype for tensor in seen} == {torch.float32}
    assert all(tensor.is_contiguous() for tensor in seen if tensor.dim() == 4)
    network = model.network_of(model.distiller.teacher.module)
    weights = [one.weight for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
    norms = [name for name, one in network.named_modules() if isinstance(one, nn.BatchNorm2d)]
    # Behind the convolution that a term reads.
    assert norms == (['backbone.layer1.0.bn1'] if kind == 'detector' else ['layer2.0.bn1'])


def test_gradients_reach_the_student_through_a_teacher_of_another_type(teachers):
    model = build(teachers, 'detector', dict(dtype='bfloat16', fuse=True))
    data = model.data_preprocessor(random_batch([(64, 96)]), True)
    model.loss(data['inputs'], data['data_samples'])['loss_there'].backward()
    assert model.backbone.conv1.weight.grad.any()
    assert not any(p.requires_grad for p in model.distiller.teacher.module.parameters())


@pytest.mark.parametrize('on', [True, False])
def test_the_type_of_autocast(on):
    with amp(on):
        assert autocast_type(torch.device('cpu')) == (torch.bfloat16 if on else None)
    assert autocast_type(torch.device('meta')) is None


# What is refused


@pytest.mark.parametrize(
    ('inference', 'error', 'message'),
    [
        ('half', TypeError, "^teacher.inference must be a dict, got 'half'$"),
        (
            dict(type='half'),
            KeyError,
            "teacher.inference has unknown keys .'type'.; valid keys are "
            ".'channels_last', 'dtype', 'fuse'.",
        ),
        (
            dict(dtype='float16'),
            ValueError,
            r"^teacher.inference.dtype must be one of \(None, 'autocast', 'half', 'bfloat16', "
            r"'float32'\), got 'float16'$",
        ),
        (
            dict(fuse=1),
            ValueError,
            '^teacher.inference.fuse must be True or False, got 1$',
        ),
        (
            dict(channels_last='yes'),
            ValueError,
            "^teacher.inference.channels_last must be True or False, got 'yes'$",
        ),
    ],
)
def test_wrong_sections(inference, error, message):
    with pytest.raises(error, match=message):
        TeacherSource.from_config(dict(config='x', inference=inference))


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize(
    'norm',
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm, None],
    ids=['weight_norm', 'spectral_norm', 'none'],
)
def test_layers_whose_weights_are_computed_keep_the_way_of_autocast(norm, autocast):
    layer = nn.Conv2d(2, 3, 3)
    network = nn.Sequential(layer if norm is None else norm(layer)).eval().requires_grad_(False)
    prepared = copy.deepcopy(network)
    Inference(dtype='autocast').prepare(prepared)
    images = torch.rand(1, 2, 5, 5)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        for _ in range(2):
            assert torch.equal(prepared[0](input=images), network[0](input=images))
