"""FCFD: paths across both networks, values of its own code, statistics, what is refused."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.classification.networks.resnets import CifarResNet
from wkd_det.classification.stages import StagedNetwork
from wkd_det.classification.taps.crossed import CrossedStagesTap, Path
from wkd_det.distillation.classes import ClassOrder
from wkd_det.distillation.recording import recording
from wkd_det.testing import classifier_config, image_batch, save_classifier

BRIDGE = dict(type='BridgeConnector')
FIRST = {0: 'teacher', 1: 'student'}


def terms(logits=None, features=None, **options):
    logits = logits or dict(type='KDLoss', temperature=4.0)
    features = features or dict(type='FitNetLoss', loss_weight=10.0)
    return dict(
        loss_kd=dict(tap='logits', loss=logits),
        loss_function=dict(tap='crossed_logits', connector=BRIDGE, loss=logits, **options),
        loss_appearance=dict(
            tap='crossed_features', connector='loss_function', loss=features, **options
        ),
    )


def network(widths):
    built = CifarResNet(8, 5, widths=widths)
    built.num_classes = 5
    return built


@pytest.fixture
def golden_model(tmp_path):
    """Both networks of the reference with their weights, in float64."""
    student, teacher = (
        dict(type=network, widths=(4, 4, 6, 8)),
        dict(type=network, widths=(4, 6, 8, 10)),
    )
    section = save_classifier(dict(type='Classifier', network=teacher), tmp_path / 'teacher.pth')
    model = MODELS.build(
        dict(
            type='DistilledClassifier', network=student, teacher=section, distill=terms(),
            image_size=8,
        )
    )  # fmt: skip
    model.init_weights()
    model.double().train()
    model.ce_weight = 0.0  # a classifier computes it in float32
    model.network.load_state_dict(state('fcfd', 'student'))
    frozen = model.distiller.teacher.module
    frozen.double()
    frozen.network.load_state_dict(state('fcfd', 'teacher'))
    frozen.train()  # as in the authors' code
    bridges = model.distiller.terms['loss_function'].connectors
    for index, place in enumerate(['1.0.1', '2.0.1', '3.0.1', '1.1.0', '2.1.0']):
        bridges[index].layers.load_state_dict(state('fcfd', f'bridges.{place}'))
    return model


def paths_of(case):
    """The paths of a case, whose digits say which network runs stem and stages."""
    found = []
    for digits in golden(case)['paths'].tolist():
        changes = [index for index in range(1, 4) if digits[index] != digits[index - 1]]
        found.append(Path(FIRST[digits[0]], changes[0] - 2))
    return found


# Values


@pytest.mark.parametrize('case', ['fcfd/0', 'fcfd/1'])
def test_of_the_authors_code(case, golden_model, monkeypatch):
    given, inputs = golden(case), golden('fcfd')
    monkeypatch.setattr(CrossedStagesTap, 'draw', lambda tap: paths_of(case))
    model = golden_model
    model.distiller.set_scale('loss_appearance', min((given['epoch'] + 1) / 20, 1.0))
    with recording(model.network, ['']) as outputs:
        losses = model.loss(inputs['images'], inputs['labels'])
    losses['loss_ce'] = F.cross_entropy(outputs[''], inputs['labels'])
    names = [name for name in given if name.startswith('grad_student.')]
    own = {name.removeprefix('grad_'): model.network for name in names}
    wanted = {key: net.get_parameter(key.removeprefix('student.')) for key, net in own.items()}
    bridges = model.distiller.terms['loss_function'].connectors
    for index, place in enumerate(['1.0.1', '2.0.1', '3.0.1', '1.1.0', '2.1.0']):
        if f'grad_bridges.{place}.0.weight' in given:
            wanted[f'bridges.{place}.0.weight'] = bridges[index].layers[0].weight
    check(case, sum(losses.values()), **wanted)
    mean = model.network.layer3[0].bn2.running_mean
    assert_close(mean, given['student_layer3_bn2_running_mean_after'], rtol=1e-10, atol=1e-12)


# Paths


@pytest.fixture(scope='module')
def wide(tmp_path_factory):
    """A wider network of the same kind."""
    folder = tmp_path_factory.mktemp('wide')
    return save_classifier(classifier_config('resnet8x4'), folder / 'teacher.pth')


def build(teacher, distill, student='resnet8', **changes):
    torch.manual_seed(0)
    changes = dict(changes, teacher=teacher, distill=distill, type='DistilledClassifier')
    config = classifier_config(student, **dict(dict(image_size=16), **changes))
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def losses_of(model, seed=0, size=16):
    images, labels = model.data_preprocessor(image_batch(size=size), True)
    torch.manual_seed(seed)
    return model.loss(images, labels)


def pairs_of(model, *names, seed=0):
    """Pairs of some terms in one step."""
    seen = {}
    for name in names:
        term = model.distiller.terms[name]
        read = term.read

        def keep(*views, name=name, read=read):
            seen[name] = read(*views)
            return seen[name]

        term.read = keep
    losses_of(model, seed)
    for name in names:
        del model.distiller.terms[name].read
    return [seen[name] for name in names]


def test_paths_are_drawn_without_replacement_from_the_random_state(wide):
    tap = build(wide, terms()).distiller.terms['loss_function'].tap
    torch.manual_seed(0)
    drawn = [tap.draw() for _ in range(60)]
    assert all(len(set(paths)) == 2 for paths in drawn)
    assert {path for paths in drawn for path in paths} == {
        (first, cut) for first in ('student', 'teacher') for cut in (0, 1)
    }
    torch.manual_seed(0)
    assert [tap.draw() for _ in range(60)] == drawn


def test_all_processes_take_the_paths_of_the_first(wide, monkeypatch):
    def received(order):
        order.copy_(torch.arange(4))

    monkeypatch.setattr('wkd_det.classification.taps.crossed.broadcast', received)
    tap = build(wide, terms()).distiller.terms['loss_function'].tap
    assert tap.draw() == [('student', 0), ('student', 1)]


def test_terms_share_the_crossed_networks_of_a_step(wide, monkeypatch):
    runs = []
    run = StagedNetwork.run

    def counted(self, *arguments):
        runs.append(self.owner)
        return run(self, *arguments)

    monkeypatch.setattr(StagedNetwork, 'run', counted)
    model = build(wide, terms(num_paths=4))
    losses_of(model)
    assert sorted(runs) == ['student'] * 2 + ['teacher'] * 2
    bridges = model.distiller.terms['loss_function'].connectors
    assert len(bridges) == 5
    assert all(bridge.layers[1].num_batches_tracked == 1 for bridge in bridges)


def test_maps_and_logits_of_the_paths(wide, monkeypatch):
    """The teacher's later stages run on what the student's bridge gives them."""
    monkeypatch.setattr(
        CrossedStagesTap, 'draw', lambda tap: [Path('student', 0), Path('teacher', 1)]
    )
    model = build(wide, terms())
    logits, features = pairs_of(model, 'loss_function', 'loss_appearance')
    teacher = model.distiller.teacher.module.network
    shapes = [tuple(pair['student'].shape[1:]) for pair in features]
    own = [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    assert shapes == [*own, *own[1:], (256, 1, 1), (256, 1, 1)]
    assert all(pair['student'].shape == pair['teacher'].shape for pair in features)
    second = teacher.layer2(features[0]['student'])
    assert_close(features[3]['student'], second)
    assert_close(features[4]['student'], teacher.layer3(second))
    assert_close(logits[0]['student'], teacher.fc(teacher.pool(features[4]['student'])))
    assert_close(features[5]['student'], features[2]['student'].relu().mean((2, 3), keepdim=True))
    assert len(logits) == 2
    assert torch.equal(logits[0]['teacher'], logits[1]['teacher'])
    assert not logits[0]['teacher'].requires_grad

    unpooled = terms()
    unpooled['loss_appearance']['pooled'] = False
    (features,) = pairs_of(build(wide, unpooled), 'loss_appearance')
    assert len(features) == 5


def test_losses_are_sums_over_paths_and_maps(wide, monkeypatch):
    model = build(wide, terms())
    pairs = dict(zip(terms(), pairs_of(model, *terms())))
    losses = losses_of(build(wide, terms()))
    for name, each in pairs.items():
        loss = model.distiller.terms[name].loss
        assert_close(losses[name], sum(loss(**pair) for pair in each), rtol=1e-4, atol=1e-5)


def test_logits_of_a_path_through_the_teacher_are_in_the_students_classes(wide, monkeypatch):
    monkeypatch.setattr(CrossedStagesTap, 'draw', lambda tap: [Path('student', 1)])
    found = []
    order = list(range(9, -1, -1))
    for classes in (None, order):
        model = build(wide, terms())
        model.distiller.attach(model, dict(teacher=model._load_teacher('teacher')))
        if classes:
            model.distiller.teacher.order = ClassOrder(classes, 10)
        (pairs,) = pairs_of(model, 'loss_function')
        found.append(pairs[0])
    assert torch.equal(found[0]['student'], found[1]['student'][:, order])
    assert torch.equal(found[0]['teacher'], found[1]['teacher'][:, order])


# Training


def test_statistics_of_the_student_are_those_of_its_own_pass(wide):
    plain = MODELS.build(classifier_config())
    torch.manual_seed(0)
    model = build(wide, terms(num_paths=4))
    plain.load_state_dict(model.state_dict(), strict=False)
    losses_of(model)
    losses_of(plain.train())
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in plain.state_dict().items())
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_what_learns(wide):
    """Student and bridges, those that were not drawn by a zero gradient; the teacher not."""
    model = build(wide, terms())
    frozen = model.distiller.teacher.module
    before = copy.deepcopy(frozen.state_dict())
    total, _ = model.parse_losses(losses_of(model))
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.any() for p in model.network.parameters())
    bridges = model.distiller.terms['loss_function'].connectors
    assert all(bridge.layers[0].weight.grad.any() for bridge in bridges[:3])
    assert not any(part.training for part in frozen.modules())
    assert not any(p.requires_grad or p.grad is not None for p in frozen.parameters())
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
    keys = [key for key in model.state_dict() if not key.startswith('network.')]
    assert keys
    assert all(key.startswith('distiller.terms.loss_function.connectors') for key in keys)


def test_only_paths_from_the_teacher_still_train_the_later_stages_of_the_student(wide, monkeypatch):
    monkeypatch.setattr(CrossedStagesTap, 'draw', lambda tap: [Path('teacher', 1)])
    distill = dict(
        loss_function=dict(
            tap='crossed_logits', connector=BRIDGE, loss=dict(type='KDLoss'), num_paths=1
        )
    )
    model = build(wide, distill)
    losses_of(model)['loss_function'].backward()
    assert model.network.layer2[0].conv1.weight.grad is None
    assert model.network.layer3[0].conv1.weight.grad.any()
    grads = [bridge.layers[0].weight.grad for bridge in model.distiller.terms[
        'loss_function'
    ].connectors]  # fmt: skip
    assert [grad.any().item() for grad in grads] == [False] * 4 + [True]


PAIRS = {
    'wrn to ShuffleV1': ('wrn_16_1', 'ShuffleV1', {}),
    'before the activation': ('wrn_16_1', 'resnet8', dict(modules='stages_before')),
    'vgg to MobileNetV2': ('vgg8', 'MobileNetV2', dict(
        modules=['blocks.1', 'blocks.2', 'blocks.4'],
        teacher_modules=['block1', 'block2', 'block3'],
    )),
}  # fmt: skip


@pytest.mark.parametrize('pair', PAIRS)
def test_other_pairs(pair, tmp_path):
    teacher, student, options = PAIRS[pair]
    section = save_classifier(classifier_config(teacher), tmp_path / 'teacher.pth')
    model = build(section, terms(num_paths=4, **options), student)
    losses = losses_of(model)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_half_precision(tmp_path):
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth')
    model = build(section, terms(num_paths=4), image_size=8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model, size=8)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_networks_of_imagenet(tmp_path):
    network = dict(type='TorchvisionModel', name='resnet18', num_classes=10)
    section = save_classifier(dict(type='Classifier', network=network), tmp_path / 'teacher.pth')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='DistilledClassifier', network=dict(type='MobileNetV1', num_classes=10),
            teacher=section, distill=terms(num_paths=6), image_size=32,
        )
    )  # fmt: skip
    model.init_weights()
    losses = losses_of(model.train(), size=32)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_fcfd_with_wkd(wide):
    """WKD-L in place of each divergence, WKD-F of each map in place of its squared distance."""
    wkd_l = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), temperature=2.0)
    distill = terms(wkd_l, dict(type='WKDFeatureLoss', loss_weight=0.01))
    distill['loss_appearance']['pooled'] = False
    model = build(wide, distill)
    losses = losses_of(model)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert model.network.conv1.weight.grad.any()


def test_averages_of_the_weights_copy_the_taps(wide):
    model = build(wide, terms())
    losses_of(model)
    average = ExponentialMovingAverage(model)
    losses_of(average.module)
    average.update_parameters(model)


def test_a_directed_bridge_has_the_activation_of_the_network_that_it_leads_to(tmp_path):
    section = save_classifier(classifier_config('wrn_16_1'), tmp_path / 'teacher.pth')
    bridges = build(section, terms()).distiller.terms['loss_function'].connectors
    activated = [len(bridge.layers) == 3 for bridge in bridges]
    assert activated == [False] * 3 + [True] * 2


# Errors


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_paths=0), 'num_paths must be an integer of at least 1, got 0'),
        (
            dict(num_paths=5),
            'num_paths must be at most 4, the number of paths across 3 modules, got 5',
        ),
        (
            dict(modules=['layer3'], num_paths=1),
            "modules and teacher_modules must be as many, at least 2, got ['layer3'] and "
            "['layer3']",
        ),
        (
            dict(modules=['layer2', 'layer3'], teacher_modules='stages'),
            "modules and teacher_modules must be as many, at least 2, got ['layer2', 'layer3'] and "
            "['layer1', 'layer2', 'layer3']",
        ),
        (
            dict(modules=['layer3', 'fc:input']),
            "crossed stages have maps (N, C, H, W), and 'fc:input' of the student gives (1, 64)",
        ),
        (
            dict(modules=['layer3', 'layer2']),
            'the student CifarResNet cannot be cut into stages at layer3, layer2: they do not run '
            'one after the other in this order',
        ),
    ],
)
def test_refused_options(wide, options, message):
    with pytest.raises(ValueError, match=f'^(distill.loss_function: )?{re.escape(message)}$'):
        build(wide, terms(**options))


def test_connectors_that_keep_the_size_where_maps_differ(tmp_path):
    section = save_classifier(classifier_config('vgg8'), tmp_path / 'teacher.pth')
    distill = terms(modules=['layer1', 'layer2'], teacher_modules=['block1', 'block2'])
    build(section, distill)
    distill['loss_function']['connector'] = dict(type='ConvConnector')
    message = (
        'ConvConnector makes 16 x 16 of a map of 16 x 16, and the other network has 8 x 8 there: '
        'use BridgeConnector'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        build(section, distill)
