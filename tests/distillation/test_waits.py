"""A distilled step waits for the device no more often than the documents say."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from mmdet.registry import MODELS

from waits import Waits
from wkd_det.distillation import distiller as distiller_module
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

CONV = dict(type='ConvConnector', kernel_size=3)
FITNET = dict(type='FitNetLoss')
KD = dict(type='KDLoss')
FOREGROUND = dict(rois='foreground')
# Read by the host in another way on a GPU, where nobody waits for it.
_ELSEWHERE = ('wkd_det/ops/checks.py', 'distillation/finite.py', 'ops/checks.py')


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
        with Waits() as waits:
            total, _ = model.parse_losses(model.loss(*given))
            total.backward()
            optimizer.step()
            optimizer.zero_grad()
    return waits.count


def more(own, other):
    """What a step waits for beyond another one."""
    extra = Counter(own)
    extra.subtract(other)
    return {place: count for place, count in extra.items() if count}


def detector_batch():
    return random_batch([(64, 96), (60, 64)])


DETECTORS = {
    'nothing': (dict(), 0),
    'roi logits': (dict(loss_x=wkd_l_term()), 1),
    'roi features': (dict(loss_x=wkd_f_term()), 1),
    'WKD-L and WKD-F': (dict(loss_l=wkd_l_term(), loss_f=wkd_f_term()), 1),
    'of objects': (
        dict(loss_l=dict(wkd_l_term(), **FOREGROUND), loss_f=dict(wkd_f_term(), **FOREGROUND)), 3
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
    'imitation': (dict(loss_x=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss'))), 0),
    'instances': (
        dict(loss_x=dict(tap='instances', loss=dict(type='ICDLoss', width=16, num_heads=2))), 5
    ),
    'boxes': (dict(loss_x=dict(tap='roi_boxes', loss=dict(type='BoxLoss'))), 4),
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
    from mmengine.registry import init_default_scope

    from wkd_det.testing import tiny_faster_rcnn

    init_default_scope('mmdet')
    return counted(tiny_faster_rcnn(), detector_batch)


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(teacher_section, plain_detector, name):
    terms, most = DETECTORS[name]
    found = more(counted(distilled_config(teacher_section, terms), detector_batch), plain_detector)
    late = {place: count for place, count in found.items() if place.startswith(_ELSEWHERE)}
    waits = {place: count for place, count in found.items() if place not in late}
    print(name, waits, late)
    assert sum(waits.values()) == most <= 5, waits
    assert sum('finite.py' in place for place in late) == bool(terms)  # one, after the backward
