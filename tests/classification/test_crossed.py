"""FCFD: paths across both networks, values of its own code, statistics, what is refused."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.classification.networks.resnets import CifarResNet
from wkd_det.classification.taps.crossed import CrossedStagesTap, Path
from wkd_det.distillation.recording import recording
from wkd_det.testing import save_classifier

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
