"""Taps of classifiers: several modules, branches, class activation maps, inputs, no teacher."""

from __future__ import annotations

import copy
import re
from typing import ClassVar
from unittest import mock

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from wkd_det import registry
from wkd_det.classification.targets import Targets
from wkd_det.connectors import Connector
from wkd_det.losses.base import Loss
from wkd_det.testing import classifier_config, image_batch, save_classifier


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """The same kind of network, deeper."""
    folder = tmp_path_factory.mktemp('teacher')
    return save_classifier(classifier_config('resnet14'), folder / 'teacher.pth')


@pytest.fixture(scope='module')
def wide(tmp_path_factory):
    """Widths 32, 64, 128, 256."""
    folder = tmp_path_factory.mktemp('wide')
    return save_classifier(classifier_config('resnet8x4'), folder / 'teacher.pth')


def build(distill, teacher=None, *, student='resnet8', **changes):
    torch.manual_seed(0)
    network = student if isinstance(student, dict) else None
    config = classifier_config() if network else classifier_config(student)
    if network:
        config['network'] = network
    changes = dict(changes, teacher=teacher, distill=distill, type='DistilledClassifier')
    model = registry.build(copy.deepcopy(dict(config, image_size=32, **changes)))
    model.init_weights()
    return model.train()


def losses_of(model, targets=lambda labels: labels):
    images, labels = model.data_preprocessor(image_batch(), True)
    return model.loss(images, targets(labels))


def pairs_of(model, name='loss_x', **options):
    """Arguments of the loss of a term in one step."""
    seen = []
    loss = model.distiller.terms[name].loss
    with mock.patch.object(loss, 'forward', side_effect=lambda **pair: seen.append(pair) or _ZERO):
        losses_of(model, **options)
    return seen


_ZERO = torch.zeros(())


class FeatureLoss(Loss):
    """Mean square of the differences of means, which maps of any width and size have."""

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def forward(self, student, teacher):
        """Scalar."""
        return self.loss_weight * (student.mean() - teacher.mean()).square()


class PyramidLoss(Loss):
    """The same of lists."""

    takes: ClassVar[str] = 'pyramid'
    mixes_widths: ClassVar[bool] = True

    def forward(self, student, teacher):
        """Scalar."""
        each = zip(student, teacher, strict=True)
        return sum((own.mean() - other.mean()).square() for own, other in each)


class AskingLoss(Loss):
    """Keeps what it is told."""

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        student_channels,
        teacher_channels,
        num_classes,
        student_size=None,
        teacher_size=None,
    ):
        super().__init__()
        self.told = (student_channels, teacher_channels, student_size, teacher_size, num_classes)
        self.layer = nn.Linear(1, 1)

    def forward(self, student, teacher):
        """Scalar."""
        return self.layer(student.mean()[None]).sum() - teacher.mean()


class AskingPyramidLoss(AskingLoss):
    """Of a pyramid."""

    takes: ClassVar[str] = 'pyramid'


class Branch(Connector):
    """Pools and classifies."""

    def __init__(self, student_channels, teacher_channels, *, stage=None, num_stages=None):
        super().__init__()
        self.place = stage, num_stages
        self.layer = nn.Linear(student_channels, teacher_channels)

    def forward(self, features, size=None):
        """Logits ``(N, K)``."""
        return self.layer(features.mean(dim=(2, 3)))


FEATURES = dict(type=FeatureLoss)
LAYERS = ['layer1', 'layer2', 'layer3']


# Several modules


def test_stages_are_summed_and_weighted(teacher):
    def value(**options):
        return losses_of(build(dict(loss_x=dict(loss=FEATURES, **options)), teacher))['loss_x']

    each = [value(tap=name) for name in LAYERS]
    torch.testing.assert_close(value(tap='stages', modules=LAYERS), sum(each))
    weighted = value(tap='stages', modules=LAYERS, weights=[2, 0, 0.5])
    torch.testing.assert_close(weighted, 2 * each[0] + 0.5 * each[2])
    pyramid = build(
        dict(loss_x=dict(tap='pyramid', modules=LAYERS, loss=dict(type=PyramidLoss))), teacher
    )
    torch.testing.assert_close(losses_of(pyramid)['loss_x'], sum(each))


def test_every_stage_has_a_connector_and_it_may_be_borrowed(wide):
    connector = dict(type='ConvConnector')
    own = dict(tap='stages', modules=LAYERS, connector=connector, loss=dict(type='FitNetLoss'))
    borrowed = dict(own, tap='pyramid', connector='loss_x', loss=dict(type='ReviewKDLoss'))
    model = build(dict(loss_x=own, loss_y=borrowed), wide)
    connectors = model.distiller.terms['loss_x'].connectors
    assert [one.conv.conv.out_channels for one in connectors] == [64, 128, 256]
    assert all(a is b for a, b in zip(connectors, model.distiller.terms['loss_y'].connectors))
    losses = losses_of(model)
    assert losses['loss_x'] > 0 < losses['loss_y']


def test_one_connector_over_all_stages_knows_widths_and_sizes(wide):
    class Sized(Connector):
        spans_levels: ClassVar[bool] = True

        def __init__(self, student_channels, teacher_channels, student_size, teacher_size):
            super().__init__()
            self.told = student_channels, teacher_channels, student_size, teacher_size
            layers = zip(student_channels, teacher_channels)
            self.layers = nn.ModuleList(nn.Conv2d(*widths, 1) for widths in layers)

        def forward(self, features, sizes=None):
            return [layer(one) for layer, one in zip(self.layers, features)]

    term = dict(
        tap='pyramid',
        modules=[*LAYERS, 'pool'],
        connector=dict(type=Sized),
        loss=dict(type=AskingPyramidLoss),
    )
    model = build(dict(loss_x=term), wide)
    sizes = ((32, 32), (16, 16), (8, 8), (1, 1))
    widths = (64, 128, 256, 256)
    (connector,) = model.distiller.terms['loss_x'].connectors
    assert connector.told == ((16, 32, 64, 64), widths, sizes, sizes)
    assert model.distiller.terms['loss_x'].loss.told == (widths, widths, sizes, sizes, 10)
    abf = dict(term, connector=dict(type='ABFConnector', mid_channels=4))
    model = build(dict(loss_x=dict(abf, loss=dict(type='ReviewKDLoss'))), wide)
    assert losses_of(model)['loss_x'] > 0


def test_sizes_that_differ(teacher):
    term = dict(
        tap='stages', modules=LAYERS[:2], teacher_modules=LAYERS[1:], loss=dict(type=FeatureLoss)
    )
    message = "the student gives 32 x 32 at 'layer1' after its connector, the teacher 16 x 16 at"
    with pytest.raises(ValueError, match=message):
        build(dict(loss_x=term), teacher)
    pairs = pairs_of(build(dict(loss_x=dict(term, same_size=False)), teacher))
    assert [pair['student'].shape[-1] for pair in pairs] == [32, 16]
    assert [pair['teacher'].shape[-1] for pair in pairs] == [16, 8]


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(modules=[]), ValueError, 'modules must be the name of a module or of a place, or a '),
        (dict(modules=LAYERS, weights=[1]), ValueError, 'weights must be 3 numbers >= 0, one for'),
        (dict(modules=['layer9']), KeyError, "no such module: got 'layer9'; near matches are la"),
        (
            dict(modules=LAYERS, teacher_modules=['layer1']),
            ValueError,
            r"must be as many, got \['layer1', 'layer2', 'layer3'\] and \['layer1'\]",
        ),
        (dict(modules=LAYERS, levels=[1]), KeyError, "unknown keys .'levels'.*same_size"),
    ],
)
def test_wrong_options_of_stages(teacher, options, error, message):
    with pytest.raises(error, match=message):
        build(dict(loss_x=dict(tap='stages', loss=FEATURES, **options)), teacher)


# Inputs of modules


def test_the_input_of_an_activation_is_what_it_rectifies(teacher):
    before = dict(tap='layer3.0.relu2:input', teacher_tap='layer3.1.relu2:input', loss=FEATURES)
    after = dict(tap='layer3', loss=FEATURES)
    model = build(dict(loss_x=before, loss_y=after), teacher)
    (one,), (other,) = pairs_of(model), pairs_of(model, 'loss_y')
    for side in ('student', 'teacher'):
        assert (one[side] < 0).any()
        assert torch.equal(one[side].relu(), other[side])


def test_an_input_that_is_overwritten_is_copied(tmp_path):
    """torchvision's blocks use one ReLU twice, in place: the last call counts."""
    network = dict(type='TorchvisionModel', name='resnet18', num_classes=10)
    section = save_classifier(classifier_config(network=network), tmp_path / 'resnet18.pth')
    term = dict(tap='layer4.1.relu:input', loss=dict(type=FeatureLoss))
    model = build(dict(loss_x=term, loss_y=dict(term, tap='layer4')), section, student=network)
    (before,), (after,) = pairs_of(model), pairs_of(model, 'loss_y')
    assert (before['student'] < 0).any()
    assert torch.equal(before['student'].relu(), after['student'])
    total = before['student'].square().sum() + losses_of(model)['loss_ce']
    total.backward()


# Branches


def test_a_branch_gives_logits_to_any_loss_of_logits(teacher):
    term = dict(
        tap='branch', modules=LAYERS, connector=dict(type=Branch), loss=dict(type='DKDLoss')
    )
    model = build(dict(loss_x=term, loss_y=dict(tap='logits', loss=dict(type='KDLoss'))), teacher)
    connectors = model.distiller.terms['loss_x'].connectors
    assert [one.place for one in connectors] == [(0, 3), (1, 3), (2, 3)]
    pairs, (logits,) = pairs_of(model), pairs_of(model, 'loss_y')
    assert len(pairs) == 3
    for pair in pairs:
        assert pair['student'].shape == (4, 10)
        assert torch.equal(pair['teacher'], logits['teacher'])
        assert torch.equal(pair['target'], image_batch()[1])
    losses = losses_of(model)
    losses['loss_x'].backward()
    assert all(p.grad.abs().sum() > 0 for one in connectors for p in one.parameters())
    assert model.network.layer1[0].conv1.weight.grad.abs().sum() > 0
    alone = dict(term, modules=['layer2'])
    one = dict(term, module='layer2')
    del one['modules']
    assert (
        losses_of(build(dict(loss_x=alone), teacher))['loss_x']
        == (losses_of(build(dict(loss_x=one), teacher))['loss_x'])
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(connector=None), 'needs a connector: the student has 64 channels there, the teacher'),
        (
            dict(connector=dict(type='ConvConnector')),
            r"the branch at 'layer3' gives \(10, 8, 8\) per image, not 10 logits: ConvConnector is",
        ),
        (dict(modules=['layer3']), 'branch needs one of module and modules, got module='),
    ],
)
def test_wrong_branches(teacher, options, message):
    term = dict(tap='branch', module='layer3', loss=dict(type='KDLoss'), **options)
    with pytest.raises(ValueError, match=message):
        build(dict(loss_x=term), teacher)


# Class activation maps


@pytest.mark.parametrize('kind', ['zoo', 'timm', 'torchvision'])
def test_the_mean_activation_and_the_bias_are_the_logits(tmp_path, kind):
    network = {
        'zoo': dict(type='CifarModel', name='resnet8', num_classes=10),
        'timm': dict(type='TimmModel', name='resnet18', num_classes=10),
        # Its last layer is a convolution; of a map and not of vectors, it has no ReLU behind it.
        'torchvision': dict(type='TorchvisionModel', name='resnet18', num_classes=10),
    }[kind]
    config = classifier_config(network=network)
    section = save_classifier(config, tmp_path / 'teacher.pth')
    map_name = 'layer3' if kind == 'zoo' else 'layer4'
    term = dict(tap='class_activation', module=map_name, loss=FEATURES)
    logits = dict(tap='logits', loss=dict(type='KDLoss'))
    model = build(dict(loss_x=term, loss_y=logits), section, student=network)
    (one,), (other,) = pairs_of(model), pairs_of(model, 'loss_y')
    for side, holder in (('student', model), ('teacher', model.distiller.teacher.module)):
        bias = holder.network.get_submodule('fc').bias
        mean = one[side].mean(dim=(2, 3)) + bias
        torch.testing.assert_close(mean, other[side], rtol=1e-4, atol=1e-4)  # order of float32 sums
    one['student'].square().sum().backward()
    assert model.network.fc.weight.grad.abs().sum() > 0


def test_class_activation_in_the_order_of_the_student(tmp_path):
    path = tmp_path / 'teacher.pth'
    section = save_classifier(classifier_config('resnet14'), path)
    term = dict(tap='class_activation', module='layer3', loss=FEATURES)
    model = build(dict(loss_x=term), section)
    (before,) = pairs_of(model)
    order = torch.arange(9, -1, -1)
    model.distiller.teacher.order = type(model.distiller.teacher.order)(order.tolist(), 10)
    (after,) = pairs_of(model)
    assert torch.equal(after['teacher'], before['teacher'][:, order])


def test_a_map_that_the_last_layer_does_not_take(teacher):
    term = dict(tap='class_activation', module='layer2', loss=FEATURES)
    message = "class_activation: the last layer of the student takes 64 channels, 'layer2' has 32"
    with pytest.raises(ValueError, match=message):
        build(dict(loss_x=term), teacher)


# Widths and sizes that losses are told


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(tap='layer3'), (64, 256, (8, 8), (8, 8), 10)),
        (
            dict(tap='layer3', connector=dict(type='ConvConnector')),
            (256, 256, (8, 8), (8, 8), 10),
        ),
        (
            dict(
                tap='layer3',
                teacher_tap='layer2',
                connector=dict(type='TransposedConvConnector'),
            ),
            (128, 128, (16, 16), (16, 16), 10),
        ),
        (
            dict(tap='stages', modules=['layer3', 'layer3']),
            (64, 256, (8, 8), (8, 8), 10),
        ),
    ],
)
def test_a_loss_is_told_what_it_will_compare(wide, options, expected):
    model = build(dict(loss_x=dict(loss=dict(type=AskingLoss), **options)), wide)
    assert model.distiller.terms['loss_x'].loss.told == expected
    assert losses_of(model)['loss_x'].isfinite()


def test_the_config_says_it_first(wide):
    loss = dict(type=AskingLoss, student_channels=3, num_classes=2)
    model = build(dict(loss_x=dict(tap='layer3', loss=loss)), wide)
    assert model.distiller.terms['loss_x'].loss.told == (3, 256, (8, 8), (8, 8), 2)


def test_stages_of_different_widths_have_no_single_one(wide):
    term = dict(tap='stages', modules=LAYERS, loss=dict(type=AskingLoss))
    with pytest.raises(TypeError, match="missing a required .*argument: 'student_channels'"):
        build(dict(loss_x=term), wide)


# Networks of terms in the optimizer


def test_networks_of_terms_have_settings_of_their_own(wide):
    model = build(
        dict(
            loss_x=dict(tap='layer3', loss=dict(type=AskingLoss)),
            loss_y=dict(
                tap='layer3', connector=dict(type='ConvConnector'), loss=dict(type='FitNetLoss')
            ),
        ),
        wide,
    )
    constructor = DefaultOptimWrapperConstructor(
        dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01)),
        dict(
            custom_keys={
                'distiller.terms.loss_x': dict(lr_mult=10, decay_mult=0),
                'distiller.terms.loss_y.connectors': dict(lr_mult=0.5),
            }
        ),
    )
    groups = constructor(model).optimizer.param_groups
    found = {
        id(one): (group['lr'], group['weight_decay']) for group in groups for one in group['params']
    }
    expected = {'loss_x': (1.0, 0.0), 'loss_y': (0.05, 0.01)}
    for name, parameter in model.named_parameters():
        term = name.split('.')[2] if name.startswith('distiller.terms') else None
        assert found[id(parameter)] == pytest.approx(expected.get(term, (0.1, 0.01))), name
    assert len(found) == len(list(model.parameters()))


# Places


def test_taps_go_by_places_of_either_network(tmp_path):
    network = dict(type='TorchvisionModel', name='resnet18', num_classes=10)
    section = save_classifier(classifier_config(network=network), tmp_path / 'resnet18.pth')
    places = dict(mine=('layer2', 'layer3'), two=(['layer1', 'layer2'], ['layer2', 'layer3']))
    terms = dict(
        loss_last=dict(tap='last', same_size=False, loss=FEATURES),
        loss_before=dict(tap='last_before', same_size=False, loss=FEATURES),
        loss_pool=dict(tap='pool', loss=FEATURES),
        loss_mine=dict(tap='mine', same_size=False, loss=FEATURES),
        loss_two=dict(tap='stages', modules='two', same_size=False, loss=FEATURES),
        loss_list=dict(
            tap='pyramid',
            modules=['two', 'pool'],
            teacher_modules=['layer1', 'middle', 'layer4.1.relu:input'],
            same_size=False,
            loss=dict(type=PyramidLoss),
        ),
    )
    model = build(terms, section, places=places)
    taps = {name: term.tap for name, term in model.distiller.terms.items()}
    found = {name: (tap.student_modules, tap.teacher_modules) for name, tap in taps.items()}
    assert found == {
        'loss_last': (('layer3',), ('layer4',)),
        'loss_before': (('layer3.0.relu2:input',), ('layer4.1.relu:input',)),
        'loss_pool': (('pool',), ('fc:input',)),
        'loss_mine': (('layer2',), ('layer3',)),
        'loss_two': (('layer1', 'layer2'), ('layer2', 'layer3')),
        'loss_list': (
            ('layer1', 'layer2', 'fc:input'),
            ('layer1', 'layer2', 'layer4.1.relu:input'),
        ),
    }
    assert all(losses_of(model)[name].isfinite() for name in terms)


@pytest.mark.parametrize(
    ('places', 'term', 'error', 'message'),
    [
        ('abc', {}, TypeError, "places must be a dict from names to pairs .*, got 'abc'"),
        ([1], {}, TypeError, r'places must be a dict from names to pairs .*, got \[1\]'),
        (dict(mine='layer1'), {}, ValueError, 'places.mine must be a pair of student and teacher'),
        (dict(mine=(3, 'layer1')), {}, ValueError, r'places.mine \(student\) must be the name of'),
        (dict(layer1=('layer1', 'layer2')), {}, ValueError, 'places.layer1: the student has a mod'),
        ({}, dict(tap='lats'), KeyError, "none of .'branch'.*got 'lats'; near matches are last"),
        (
            {},
            dict(tap='stages_before'),
            ValueError,
            'several modules, .*: use the tap stages or',
        ),
        (
            dict(mine=('layer1', None)),
            dict(tap='mine'),
            ValueError,
            r"'mine' is layer1 in the student and unknown in the teacher: set places=dict\(mine=",
        ),
        (
            dict(mine=(['layer1'], ['layer1', 'layer2'])),
            dict(tap='stages', modules='mine'),
            ValueError,
            r"'mine' is layer1 in the student and \['layer1', 'layer2'\] in the teacher: set",
        ),
    ],
)
def test_wrong_places(teacher, places, term, error, message):
    with pytest.raises(error, match=message):
        build(dict(loss_x=dict(dict(tap='layer1', loss=FEATURES), **term)), teacher, places=places)


# Without a teacher


class OwnLogitsLoss(Loss):
    """Cross entropy."""

    takes: ClassVar[str] = 'logits'
    needs_teacher: ClassVar[bool] = False
    needs = ('target',)

    def forward(self, student, target):
        """Scalar."""
        return self.loss_weight * nn.functional.cross_entropy(student, target)


class OwnMapLoss(Loss):
    """A classifier of its own on an inner map, and the student's own last layer on another."""

    takes: ClassVar[str] = 'features'
    needs_teacher: ClassVar[bool] = False
    needs = ('target', 'student_logits', 'student_head')

    def __init__(self, *, student_channels, num_classes, loss_weight=1.0):
        super().__init__(loss_weight)
        self.layer = nn.Linear(student_channels, num_classes)
        self.register_buffer('steps', torch.zeros(()))

    def forward(self, student, target, student_logits, student_head):
        """Scalar."""
        self.steps += 1
        pooled = student.mean(dim=(2, 3))
        votes = student_head(torch.cat([pooled, pooled], dim=1)).detach()
        own = nn.functional.cross_entropy(self.layer(pooled), target)
        return own + nn.functional.cross_entropy(student_logits, votes.softmax(dim=1))


ALONE = dict(
    loss_l=dict(tap='logits', loss=dict(type=OwnLogitsLoss)),
    loss_m=dict(tap='layer2', loss=dict(type=OwnMapLoss)),
)


def test_terms_without_a_teacher_need_no_section(teacher):
    model = build(ALONE)
    assert model.distiller.needed_teachers == []
    assert model.distiller.teacher is None
    assert model.distiller.teacher_modules('teacher') == []
    losses = losses_of(model)
    torch.testing.assert_close(losses['loss_l'], losses['loss_ce'], rtol=0, atol=0)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert {'share_l', 'share_m'} <= log.keys()
    state = model.state_dict()
    assert {key for key in state if key.startswith('distiller.')} == {
        'distiller.terms.loss_m.loss.layer.weight',
        'distiller.terms.loss_m.loss.layer.bias',
        'distiller.terms.loss_m.loss.steps',
    }
    other = build(ALONE)
    other.load_state_dict(state)
    assert other.distiller.terms['loss_m'].loss.steps == 1


def test_a_teacher_that_only_other_terms_need_rests_when_they_are_off(teacher):
    model = build(dict(ALONE, loss_kd=dict(tap='logits', loss=dict(type='KDLoss'))), teacher)
    assert losses_of(model)['loss_kd'] > 0
    model.distiller.set_scale('loss_kd', 0.0)
    network = model.distiller.teacher.module.network
    with mock.patch.object(network, 'forward', side_effect=AssertionError('the teacher ran')):
        losses = losses_of(model)
    assert losses['loss_kd'] == 0
    assert losses['loss_m'] > 0


def test_several_modules_and_branches_without_a_teacher():
    class Own(Loss):
        needs_teacher: ClassVar[bool] = False

        def forward(self, student):
            maps = student if isinstance(student, list) else [student]
            return sum(one.square().mean() for one in maps)

    for tap, kind, options in (
        ('stages', 'features', dict(modules=LAYERS)),
        ('pyramid', 'pyramid', dict(modules='stages')),
        ('class_activation', 'features', {}),
        ('branch', 'logits', dict(modules='stages', connector=dict(type=Branch))),
    ):
        loss = type('Own', (Own,), dict(takes=kind))
        model = build(dict(loss_x=dict(tap=tap, loss=dict(type=loss), **options)))
        assert losses_of(model)['loss_x'] > 0, tap


def test_a_connector_has_nothing_to_bring_together_without_a_teacher():
    term = dict(ALONE['loss_m'], connector=dict(type='ConvConnector'))
    with pytest.raises(ValueError, match='connector is set, but the tap compares no feature maps'):
        build(dict(loss_x=term))


# What losses ask for


class AskingForAll(Loss):
    """Takes everything."""

    takes: ClassVar[str] = 'features'
    needs = (
        'target',
        'student_logits',
        'teacher_logits',
        'student_head',
        'teacher_head',
    )

    def forward(self, **given):
        """Scalar."""
        return given['student'].mean() * 0


def test_everything_at_once_in_the_classes_of_the_student(teacher):
    terms = dict(
        loss_x=dict(tap='pool', loss=dict(type=AskingForAll)),
        loss_y=dict(tap='logits', loss=dict(type='KDLoss')),
    )
    model = build(terms, teacher)
    order = torch.arange(9, -1, -1)
    model.distiller.teacher.order = type(model.distiller.teacher.order)(order.tolist(), 10)
    (given,), (logits,) = pairs_of(model), pairs_of(model, 'loss_y')
    assert given.keys() == {'student', 'teacher', *AskingForAll.needs}
    assert torch.equal(given['target'], image_batch()[1])
    for side in ('student', 'teacher'):
        assert torch.equal(given[f'{side}_logits'], logits[side])
        vectors = given[side].flatten(1).detach().requires_grad_()
        found = given[f'{side}_head'](vectors)
        torch.testing.assert_close(found, logits[side])
        found.square().sum().backward()
        assert vectors.grad.abs().sum() > 0
        maps = torch.rand(2, 3, 5, 64)
        torch.testing.assert_close(
            given[f'{side}_head'](maps)[1, 2], given[f'{side}_head'](maps[1, 2])
        )
    assert model.network.fc.weight.grad.abs().sum() > 0
    assert model.distiller.teacher.module.network.fc.weight.grad is None
    with pytest.raises(ValueError, match='layer of the teacher takes vectors of 64 values, got 3'):
        given['teacher_head'](torch.rand(1, 3))


def test_a_loss_is_given_no_more_than_it_takes(teacher):
    class Plain(Loss):
        takes: ClassVar[str] = 'logits'

        def forward(self, student, teacher):
            return (student - teacher).square().mean()

    model = build(dict(loss_x=dict(tap='logits', loss=dict(type=Plain))), teacher)
    assert losses_of(model)['loss_x'] > 0


class IndexLoss(Loss):
    """Keeps a bank."""

    takes: ClassVar[str] = 'features'
    needs = ('index', 'target')
    samples = None

    def set_samples(self, labels):
        """Keep the labels."""
        self.samples = labels

    def forward(self, student, teacher, index, target):
        """Scalar."""
        return (student.mean() - teacher.mean()).square()


def test_indices_come_from_the_batch_and_the_table_from_the_hook(teacher):
    model = build(dict(loss_x=dict(tap='pool', loss=dict(type=IndexLoss))), teacher)
    index = torch.tensor([5, 3, 8, 0])
    with_index = dict(targets=lambda labels: Targets(labels, indices=index))
    message = "distill.loss_x: IndexLoss needs the label of every training sample: add dict(type='S"
    with pytest.raises(ValueError, match=re.escape(message)):
        losses_of(model, **with_index)
    model.distiller.set_samples(torch.arange(9))
    assert torch.equal(model.distiller.terms['loss_x'].loss.samples, torch.arange(9))
    (pair,) = pairs_of(model, **with_index)
    assert torch.equal(pair['index'], index)
    with pytest.raises(ValueError, match='the batch carries none: set with_index=True in the tra'):
        losses_of(model)


def test_images_without_a_label_are_left_out_where_labels_are_needed(teacher):
    terms = dict(
        loss_x=dict(tap='pool', loss=dict(type=IndexLoss)),
        loss_y=dict(tap='logits', loss=dict(type='KDLoss')),
        loss_z=dict(tap='logits', loss=dict(type='DKDLoss')),
    )
    model = build(terms, teacher)
    model.distiller.set_samples(torch.arange(9))
    index, labelled = torch.tensor([5, 3, 8, 0]), torch.tensor([True, False, True, True])

    def targets(labels):
        return Targets(labels.where(labelled, -1), indices=index, labelled=labelled)

    (x,), (y,), (z,) = (pairs_of(model, name, targets=targets) for name in terms)
    assert [len(pair['student']) for pair in (x, y, z)] == [3, 4, 3]
    assert [len(pair['teacher']) for pair in (x, y, z)] == [3, 4, 3]
    assert torch.equal(x['index'], index[labelled])
    assert torch.equal(z['student'], y['student'][labelled])
    labels = image_batch()[1]
    assert torch.equal(z['target'], labels[labelled])
    losses = losses_of(model, targets)
    assert all(value.isfinite() for value in losses.values())


class StrongLoss(Loss):
    """Of two views."""

    takes: ClassVar[str] = 'logits'
    needs = ('student_strong', 'teacher_strong')

    def forward(self, student, teacher, student_strong, teacher_strong):
        """Scalar."""
        return (student_strong - teacher_strong).square().mean()


def test_two_views(teacher):
    model = build(dict(loss_x=dict(tap='logits', loss=dict(type=StrongLoss))), teacher)
    images, labels = model.data_preprocessor(image_batch(), True)
    strong = images.flip(0)
    model.eval()  # the statistics of batches do not depend on the order
    (pair,) = pairs_of(model, targets=lambda labels: Targets(labels, strong=strong))
    for side in ('student', 'teacher'):
        torch.testing.assert_close(pair[f'{side}_strong'], pair[side].flip(0))
    message = 'the batch has only one view: set strong_transforms in the training data set'
    with pytest.raises(ValueError, match=message):
        losses_of(model)


@pytest.mark.parametrize(
    ('needs', 'message'),
    [
        (('nothing',), 'distill.loss_x: Asking needs nothing, which is none of .*student_head'),
        (('teacher_head',), None),
    ],
)
def test_what_nobody_gives_is_refused(teacher, needs, message):
    class Asking(Loss):
        takes: ClassVar[str] = 'features'

        def forward(self, student, teacher, **given):
            return student.mean()

    Asking.needs = needs
    term = dict(loss_x=dict(tap='layer3', loss=dict(type=Asking)))
    if message is None:
        build(term, teacher)
        with (
            mock.patch(
                'wkd_det.classification.views.last_layer', side_effect=ValueError('no layer')
            ),
            pytest.raises(
                ValueError,
                match='Asking needs teacher_head, which CifarResNet does not give: no layer',
            ),
        ):
            build(term, teacher)
        return
    with pytest.raises(ValueError, match=message):
        build(term, teacher)


def test_teacher_logits_need_a_teacher_and_its_classes(teacher):
    class Asking(Loss):
        takes: ClassVar[str] = 'features'
        needs_teacher: ClassVar[bool] = False
        needs = ('teacher_logits',)

        def forward(self, student, teacher_logits):
            return student.mean() + teacher_logits.mean()

    term = dict(loss_x=dict(tap='layer3', loss=dict(type=Asking)))
    assert losses_of(build(term, teacher))['loss_x'].isfinite()
    with pytest.raises(KeyError, match='distill.loss_x needs a teacher: set teacher=dict'):
        build(term)
    with pytest.raises(ValueError, match="'any' compares no classes, and distill.loss_x compares"):
        build(term, dict(teacher, classes='any'))


def test_a_loss_may_look_at_modules_of_the_teacher(teacher):
    class Looking(Loss):
        takes: ClassVar[str] = 'features'

        def __init__(self, *, norm):
            super().__init__()
            self.teacher_modules = (norm,)
            self.register_buffer('bias', torch.zeros(64), persistent=False)

        def set_teacher_modules(self, modules):
            self.bias.copy_(modules[0].bias)

        def forward(self, student, teacher):
            return student.mean()

    def term(norm):
        return dict(loss_x=dict(tap='layer3', loss=dict(type=Looking, norm=norm)))

    model = build(term('layer3.1.bn2'), teacher)
    norm = model.distiller.teacher.module.network.layer3[1].bn2
    assert torch.equal(model.distiller.terms['loss_x'].loss.bias, norm.bias)
    assert not any(isinstance(one, nn.BatchNorm2d) for one in model.distiller.modules())
    with pytest.raises(KeyError, match="the teacher CifarResNet has no such module: got 'layer9'"):
        build(term('layer9'), teacher)
