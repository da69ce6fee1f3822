"""A distilled step waits for the device no more often than the documents say."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from gpu_check.waits import OperatorWatch, beyond
from wkd_det.distillation import distiller as distiller_module
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

CONV = dict(type='ConvConnector', kernel_size=3)
FITNET = dict(type='FitNetLoss')
KD = dict(type='KDLoss')
FOREGROUND = dict(rois='foreground')


def governed(term, every=1):
    share = dict(type='GradientShare', share=0.2, every=every)
    return dict(term, loss=dict(term['loss'], loss_weight=share))


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)


def counted(config, batch):
    """Waits in the second step: what is done once is done."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(2):
        data = model.data_preprocessor(batch(), True)
        given = (data['inputs'], data['data_samples']) if isinstance(data, dict) else data
        torch.manual_seed(1)
        with OperatorWatch() as watch:
            total, _ = model.parse_losses(model.loss(*given))
            total.backward()
            optimizer.step()
            optimizer.zero_grad()
    return watch.readers


def more(own, other):
    """Places and numbers of waits beyond those of another step."""
    # Labels on a GPU are looked at in the first call of a loss.
    found = beyond(own, other)
    return {place: found[place] for place in found if not place.startswith('wkd_det/ops/checks.py')}


def detector_batch():
    return random_batch([(64, 96), (60, 64)])


DETECTORS = {
    'nothing': (dict(), 0),
    'roi logits': (dict(loss_x=wkd_l_term()), 1),
    'roi features': (dict(loss_x=wkd_f_term()), 1),
    'WKD-L and WKD-F': (dict(loss_l=wkd_l_term(), loss_f=wkd_f_term()), 1),
    'of objects': (
        dict(loss_l=dict(wkd_l_term(), **FOREGROUND), loss_f=dict(wkd_f_term(), **FOREGROUND)), 2
    ),
    'neck': (dict(loss_x=wkd_f_neck_term()), 0),
    'module': (dict(loss_x=dict(tap='backbone.layer3', connector=CONV, loss=FITNET)), 0),
    'pyramid': (
        dict(
            loss_x=dict(
                tap='pyramid',
                connector=dict(type='ABFConnector', mid_channels=8),
                loss=dict(type='ReviewKDLoss'),
            )
        ),
        0,
    ),
    'imitation': (
        dict(loss_x=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss'))), 0
    ),
    'instances': (  # one-hot codes look at their values on a CPU alone
        dict(loss_x=dict(tap='instances', loss=dict(type='ICDLoss', width=16, num_heads=2))), 4
    ),
    'weights by gradients': (
        dict(loss_l=governed(wkd_l_term(), 3), loss_f=governed(wkd_f_neck_term(), 3)), 1
    ),
    'measured gradients': (  # back through a loss of MMDetection that chooses rows by a mask
        dict(loss_l=governed(wkd_l_term()), loss_f=governed(wkd_f_neck_term())), 2
    ),
    'boxes': (dict(loss_x=dict(tap='roi_boxes', loss=dict(type='BoxLoss'))), 3),
    'crossed': (
        dict(
            loss_a=dict(tap='neck', levels=[0, 1, 2, 3], connector=CONV, loss=FITNET),
            loss_b=dict(tap='crossed_logits', head='teacher', connector='loss_a', loss=KD),
            loss_c=dict(tap='crossed_logits', head='student', connector=CONV, loss=KD),
        ),
        1,
    ),
}  # fmt: skip


@pytest.fixture(scope='module')
def plain_detector():
    init_default_scope('mmdet')
    return counted(tiny_faster_rcnn(), detector_batch)


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(teacher_section, plain_detector, name):
    terms, most = DETECTORS[name]
    found = more(counted(distilled_config(teacher_section, terms), detector_batch), plain_detector)
    assert sum(found.values()) == most <= 5, found


# Classifiers


BRIDGE = dict(type='BridgeConnector')
CLASSIFIERS = {
    'weights by gradients': dict(
        loss_l=governed(class_logits_term()), loss_f=governed(module_term())
    ),
    'logits': dict(loss_x=class_logits_term()),
    'features': dict(loss_x=module_term()),
    'WKD-L and WKD-F': dict(loss_l=class_logits_term(), loss_f=module_term()),
    'pyramid': dict(
        loss_x=dict(
            tap='pyramid',
            connector=dict(type='ABFConnector', mid_channels=8, resize=True),
            loss=dict(type='ReviewKDLoss'),
        )
    ),
    'head of the teacher': dict(
        loss_x=dict(tap='last', connector=dict(type='ConvConnector'), loss=dict(type='SRRLLoss'))
    ),
    'crossed': dict(loss_x=dict(tap='crossed_logits', connector=BRIDGE, loss=KD)),
}


@pytest.fixture(scope='module')
def teacher_classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    return save_classifier(classifier_config('resnet14'), path)


@pytest.fixture(scope='module')
def plain_classifier():
    return counted(classifier_config(), image_batch)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifiers(teacher_classifier, plain_classifier, name):
    config = classifier_config(teacher=teacher_classifier, distill=CLASSIFIERS[name], image_size=32)
    own = counted(dict(config, type='DistilledClassifier'), image_batch)
    # Which paths are drawn is decided on the CPU, and read there.
    drawn = 'wkd_det/classification/taps/crossed.py'
    found = more(own, plain_classifier)
    assert [place.rpartition(':')[0] for place in found] == ([drawn] if name == 'crossed' else [])


def test_a_step_of_a_classifier_runs_where_there_are_no_values(teacher_classifier, monkeypatch):
    """On the meta device whoever reads a value, or brings a tensor from the CPU, is an error."""
    autocast = torch.autocast  # does not know that device

    def known(device_type, **options):
        return nullcontext() if device_type == 'meta' else autocast(device_type, **options)

    monkeypatch.setattr(torch, 'autocast', known)
    terms = dict(
        loss_kd=dict(tap='logits', loss=KD),
        loss_wkd_f=governed(module_term()),
        loss_reviewkd=CLASSIFIERS['pyramid']['loss_x'],
        loss_srrl=CLASSIFIERS['head of the teacher']['loss_x'],
        loss_crossed=CLASSIFIERS['crossed']['loss_x'],
    )
    config = classifier_config(teacher=teacher_classifier, distill=terms, image_size=32)
    model = MODELS.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    model.to('meta').train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        images, labels = torch.empty(4, 3, 32, 32, device='meta'), torch.empty(4, device='meta')
        losses = model.loss(images, labels.long())
        total, log = model.parse_losses(losses)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert terms.keys() <= log.keys()
    assert {value.device.type for value in log.values()} == {'meta'}
    parameters = [*model.parameters(), *model.distiller.teacher.module.parameters()]
    assert {parameter.device.type for parameter in parameters} == {'meta'}
