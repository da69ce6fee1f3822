"""Views of a step: each part runs once, nothing stays attached, padding does not count."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi

from wkd_det.connectors import Connector
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.testing import (
    distilled_config,
    random_batch,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(70, 96), (96, 50)]


class Calls:
    """Counts calls of methods and modules while they go on working."""

    def __init__(self, monkeypatch):
        self.count = {}
        self.monkeypatch = monkeypatch

    def watch(self, owner, name, label):
        original = getattr(owner, name)
        self.count[label] = 0

        def counted(*args, **kwargs):
            self.count[label] += 1
            return original(*args, **kwargs)

        self.monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize(
    ('terms', 'expected'),
    [
        (dict(loss_neck=wkd_f_neck_term()), dict(head=0, pool=0)),
        (dict(loss_logits=wkd_l_term()), dict(head=1, pool=1)),  # the head's own RoIAlign
        (dict(loss_feats=wkd_f_term()), dict(head=0, pool=0)),  # a RoIAlign of the tap's own size
        (dict(loss_l=wkd_l_term(), loss_l2=wkd_l_term(sharpness=1.0)), dict(head=1, pool=1)),
    ],
)
def test_nothing_runs_twice_or_unasked(teacher_section, monkeypatch, terms, expected):
    model = MODELS.build(distilled_config(teacher_section, terms))
    model.init_weights()
    teacher = model.distiller.teacher.module
    calls = Calls(monkeypatch)
    for name in ('backbone', 'neck'):
        calls.watch(getattr(model, name), 'forward', f'student {name}')
        calls.watch(getattr(teacher, name), 'forward', f'teacher {name}')
    calls.watch(model.roi_head.bbox_head, 'forward', 'student head')
    calls.watch(model.roi_head.bbox_roi_extractor, 'forward', 'student pool')
    calls.watch(model.roi_head.bbox_sampler, 'sample', 'sampled images')
    calls.watch(teacher.roi_head.bbox_head, 'forward', 'head')
    calls.watch(teacher.roi_head.bbox_roi_extractor.roi_layers[0], 'forward', 'pool')
    calls.watch(teacher.rpn_head, 'forward', 'teacher rpn')
    data = model.data_preprocessor(random_batch(SIZES), True)
    model.loss(data['inputs'], data['data_samples'])
    for label in ('student backbone', 'student neck', 'teacher backbone', 'teacher neck'):
        assert calls.count[label] == 1, label
    assert calls.count['student head'] == calls.count['student pool'] == 1
    assert calls.count['sampled images'] == len(SIZES)
    assert calls.count['teacher rpn'] == 0
    assert dict(head=calls.count['head'], pool=calls.count['pool']) == expected


def test_teacher_runs_first_and_only_if_a_term_is_on(teacher_section, monkeypatch):
    """Before the student: its intermediate results do not lie on top of the student's graph."""
    model = MODELS.build(distilled_config(teacher_section, dict(loss_l=wkd_l_term())))
    model.init_weights()
    order = []
    for name, network in dict(student=model, teacher=model.distiller.teacher.module).items():
        network.backbone.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    data = model.data_preprocessor(random_batch(SIZES), True)
    model.loss(data['inputs'], data['data_samples'])
    assert order == ['teacher', 'student']
    order.clear()
    model.distiller.set_scale('loss_l', 0.0)
    assert model.loss(data['inputs'], data['data_samples'])['loss_l'] == 0
    assert order == ['student']


def test_record_agrees_with_mmdet_and_leaves_nothing_behind():
    model = MODELS.build(tiny_faster_rcnn()).train()
    model.init_weights()
    data = model.data_preprocessor(random_batch(SIZES), True)
    seen = {}
    original = model.roi_head.bbox_loss

    def spy(x, sampling_results):
        seen['sampling'] = sampling_results
        seen['result'] = original(x, sampling_results)
        return seen['result']

    model.roi_head.bbox_loss = spy
    view = DetectorStudentView(model, data['inputs'], data['data_samples'])
    with view.recording():
        model.loss(data['inputs'], data['data_samples'])
    targets = model.roi_head.bbox_head.get_targets(seen['sampling'], model.train_cfg.rcnn)
    stage = view.stages[0]
    assert list(view.stages) == [0]
    assert torch.equal(stage.labels, targets[0])
    assert torch.equal(stage.rois, bbox2roi([s.priors for s in seen['sampling']]))
    assert stage.logits is seen['result']['cls_score']
    assert (stage.labels < 4).any()
    assert (stage.labels == 4).any()
    assert len(view.maps('neck')) == 5
    assert len(view.maps('backbone')) == 4
    assert [len(boxes) for boxes in view.proposals] == [100, 100]
    assert stage.offsets is seen['result']['bbox_pred']
    assert model.roi_head.bbox_loss is spy  # the user's own is given back
    assert 'loss' not in vars(model.roi_head)
    assert not model.backbone._forward_hooks
    assert not model.neck._forward_hooks


@pytest.mark.parametrize('failing', ['backbone', 'roi_head', 'the block'])
def test_nothing_stays_attached_after_a_failure(failing, monkeypatch):
    model = MODELS.build(tiny_faster_rcnn())
    data = model.data_preprocessor(random_batch(SIZES), True)

    def stop(*args, sampling_results=None):
        raise RuntimeError('stop')

    if failing == 'backbone':
        monkeypatch.setattr(model.backbone, 'forward', stop)
    if failing == 'roi_head':
        monkeypatch.setattr(type(model.roi_head), 'bbox_loss', stop)

    def step():
        view = DetectorStudentView(model, data['inputs'], data['data_samples'])
        with view.recording():
            model.loss(data['inputs'], data['data_samples'])
            stop()

    with pytest.raises(RuntimeError, match='stop'):
        step()
    assert not {'loss', 'bbox_loss'} & vars(model.roi_head).keys()
    assert not model.backbone._forward_hooks
    assert not model.neck._forward_hooks


def test_head_whose_preparation_fails_is_left_alone(monkeypatch):
    """Something in the way of one attribute takes the others back too."""
    model = MODELS.build(tiny_faster_rcnn())
    monkeypatch.setattr(DetectorStudentView, '_recorded_bbox_loss', lambda *_: 1 / 0)
    view = DetectorStudentView(model, torch.zeros(1, 3, 32, 32), [])
    with pytest.raises(ZeroDivisionError), view.recording():
        raise AssertionError('the block must not run')
    assert not {'loss', 'bbox_loss'} & vars(model.roi_head).keys()
    assert not model.backbone._forward_hooks


def test_padding_does_not_count_in_the_maps(teacher_section):
    """Whatever the student's map holds behind the image, the loss on the neck is the same."""
    term = wkd_f_neck_term(levels=[0])
    model = MODELS.build(distilled_config(teacher_section, dict(loss_neck=term)))
    model.init_weights()
    sizes = [(64, 64), (64, 32)]
    inputs = torch.randn(2, 3, 64, 64)
    term = model.distiller.terms['loss_neck']

    class Student(DetectorStudentView):
        def maps(self, place):
            return (filled,)

    class Teacher:
        def maps(self, place):
            return (teacher_map,)

    student_map = torch.randn(2, 16, 16, 16)
    teacher_map = torch.randn(2, 24, 16, 16)
    connector = torch.nn.ModuleList([Project()])
    values = []
    for filling in (0.0, 1e4, float('nan')):
        filled = student_map.clone()
        filled[1, :, :, 8:] = filling
        samples = [DetDataSample(metainfo=dict(img_shape=size)) for size in sizes]
        (pair,) = term.tap.read(Student(model, inputs, samples), Teacher(), connector)
        assert pair['mask'].sum(dim=(1, 2)).tolist() == [256, 128]
        values.append(term.loss(**pair).item())
    assert values[0] == values[1] == values[2]


class Project(Connector):
    """Repeats channels: no pixel sees another one."""

    def forward(self, features, size):
        return torch.cat([features, features[:, :8]], 1)
