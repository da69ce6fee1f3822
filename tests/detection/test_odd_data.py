"""Batches that data sets really hold: losses stay finite and gradients flow."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_models import build
from wkd_det.testing import (
    distilled_config,
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)
from wkd_det.testing.detectors import CONFIGS

NECK = dict(loss_neck=wkd_f_neck_term(levels=None))
ROIS = dict(
    loss_wkd_l=wkd_l_term(),
    loss_foreground=dict(wkd_l_term(), rois='foreground', background=False),
    loss_wkd_f=wkd_f_term(),
    loss_f_foreground=wkd_f_term(connector_at='roi', rois='foreground'),
    **NECK,
)
STAGED = ('loss_wkd_l', 'loss_foreground', 'loss_wkd_f', 'loss_f_foreground')


def terms_of(kind):
    if 'RCNN' not in kind:
        return NECK
    terms = copy.deepcopy(ROIS)
    if kind == 'CascadeRCNN':
        for name in STAGED:
            terms[name]['stage'] = [0, 1, 2]
    return terms


@pytest.fixture(scope='module')
def model_of(tmp_path_factory):
    """A distilled detector of each kind, built when first asked for."""
    folder, models = tmp_path_factory.mktemp('odd'), {}

    def model(kind):
        if kind not in models:
            teacher, student = tiny_detector(kind, fpn_channels=24), tiny_detector(kind)
            for config in (teacher, student):  # those that leave padding to the pipeline
                config.data_preprocessor.setdefault('pad_size_divisor', 32)
            save_detector(teacher, folder / f'{kind}.pth')
            section = dict(config=teacher, checkpoint=str(folder / f'{kind}.pth'))
            models[kind] = build(distilled_from(student, section, terms_of(kind)))
        models[kind].zero_grad()
        return models[kind]

    return model


def without_boxes(sample):
    sample.gt_instances = sample.gt_instances[:0]


def with_boxes_of_one_pixel(sample):
    boxes = sample.gt_instances.bboxes
    boxes[:, 2:] = boxes[:, :2] + 1


def with_crowds_only(sample):
    sample.ignored_instances = copy.deepcopy(sample.gt_instances)
    without_boxes(sample)


def as_it_is(sample):
    pass


TWO = [(96, 128), (64, 96)]
CASES = {
    'no boxes': (TWO, [without_boxes, without_boxes]),
    'one image without boxes': (TWO, [as_it_is, without_boxes]),
    'boxes of one pixel': (TWO, [with_boxes_of_one_pixel, with_boxes_of_one_pixel]),
    'crowds only': (TWO, [with_crowds_only, with_crowds_only]),
    'very wide': ([(32, 1200)], [as_it_is]),
    'very high beside very small': ([(700, 20), (20, 20)], [as_it_is, as_it_is]),
    'maps of one pixel': ([(32, 32)], [as_it_is]),
}
REFUSED = {
    ('RTMDet', 'maps of one pixel'): 'more than 1 value per channel',
    ('DINO', 'maps of one pixel'): 'k out of range',  # fewer places than queries
}
"""Batches that the plain detector does not take, with what it says."""


def step(model, batch, seed=3):
    """Losses and gradients; all of them finite, and no connector left out."""
    data = model.data_preprocessor(batch, True)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, _ = model.parse_losses(losses)
    total.backward()
    for name in model.distiller.terms:
        assert losses[name].isfinite(), name
    assert total.isfinite()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert not [name for name, g in gradients.items() if g is not None and not g.isfinite().all()]
    assert not [name for name, g in gradients.items() if 'connectors' in name and g is None]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients.values())
    return losses


@pytest.mark.parametrize('kind', CONFIGS)
@pytest.mark.parametrize('case', CASES)
def test_odd_batches(model_of, kind, case):
    sizes, changes = CASES[case]
    batch = random_batch(sizes, masks='RCNN' in kind)
    for change, sample in zip(changes, batch['data_samples']):
        change(sample)
    if (kind, case) in REFUSED:
        with pytest.raises((RuntimeError, ValueError), match=REFUSED[kind, case]):
            step(model_of(kind), batch)
        return
    losses = step(model_of(kind), batch)
    assert losses['loss_neck'] > 0
    if 'RCNN' in kind and case in ('no boxes', 'crowds only'):
        assert losses['loss_foreground'] == 0
        assert losses['loss_f_foreground'] == 0
        assert losses['loss_wkd_l'] > 0  # background RoIs there are


@pytest.mark.parametrize('kind', ['FasterRCNN', 'MaskRCNN', 'CascadeRCNN'])
def test_no_proposals_and_no_boxes(model_of, kind):
    """No RoI at all; a Cascade ends before its second stage then."""
    model = model_of(kind)
    proposals = model.train_cfg.rpn_proposal
    before, proposals.min_bbox_size = proposals.min_bbox_size, 10_000
    try:
        losses = step(model, random_batch(TWO, boxes=0, masks=True))
    finally:
        proposals.min_bbox_size = before
    assert all(losses[name] == 0 for name in STAGED)
    assert losses['loss_neck'] > 0


@pytest.fixture(scope='module')
def model_of_classes(tmp_path_factory):
    """A distilled Faster R-CNN of few classes."""

    def model(count, **options):
        path = tmp_path_factory.mktemp('classes') / 'teacher.pth'
        teacher = tiny_faster_rcnn(num_classes=count, fpn_channels=24)
        save_detector(teacher, path)
        terms = dict(loss_wkd_l=dict(wkd_l_term(), **options))
        section = dict(config=teacher, checkpoint=str(path))
        return build(distilled_config(section, terms, num_classes=count))

    return model


@pytest.mark.parametrize(
    ('count', 'options', 'logits'),
    [
        (1, {}, 2),
        (2, {}, 3),
        (2, dict(rois='foreground', background=False), 2),
    ],
)
def test_few_classes(model_of_classes, count, options, logits):
    model = model_of_classes(count, **options)
    assert model.distiller.terms['loss_wkd_l'].loss.cost.shape == (logits, logits)
    losses = step(model, random_batch(TWO, num_classes=count))
    assert losses['loss_wkd_l'] > 0


def test_one_logit_says_nothing(model_of_classes):
    with pytest.raises(ValueError, match='a single logit, which says nothing: keep background'):
        model_of_classes(1, rois='foreground', background=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(['FasterRCNN', 'CascadeRCNN', 'RetinaNet']),
    sizes=st.lists(st.tuples(st.integers(16, 160), st.integers(16, 160)), min_size=1, max_size=3),
    boxes=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_images_of_any_size(model_of, kind, sizes, boxes, seed):
    step(model_of(kind), random_batch(sizes, boxes=boxes, seed=seed), seed)
