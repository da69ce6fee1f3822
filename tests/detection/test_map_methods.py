"""Methods of classifiers that compare maps of detectors too: MGD and AT on every tap of maps."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.testing import distilled_from, random_batch, save_detector, tiny_detector

CONV = dict(type='ConvConnector', norm_cfg=None)
PIXELS = dict(type='MGDLoss', alpha=5e-4, ratio=0.45, unit='pixel')
TERMS = {
    'MGD, neck': dict(tap='neck', levels=[0], connector=CONV, loss=PIXELS),
    'MGD, shared over levels': dict(tap='neck', connector=CONV, loss=PIXELS),
    'MGD, backbone': dict(tap='backbone', levels=[2], connector=CONV, loss=PIXELS),
    'MGD, RoIs': dict(tap='roi_feats', roi_size=4, connector=CONV, loss=PIXELS),
    'AT, neck': dict(tap='neck', loss=dict(type='ATLoss')),
    'AT, backbone': dict(tap='backbone', loss=dict(type='ATLoss')),
    'AT, RoIs': dict(tap='roi_feats', roi_size=4, loss=dict(type='ATLoss')),
    'NST, neck': dict(tap='neck', levels=[2], loss=dict(type='NSTLoss')),
}


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A pyramid of another width than the student's."""
    config = tiny_detector('FasterRCNN', fpn_channels=24)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    save_detector(config, path)
    return dict(config=config, checkpoint=str(path))


def build(teacher, terms):
    torch.manual_seed(0)
    distill = {f'loss_{index}': copy.deepcopy(term) for index, term in enumerate(terms)}
    return MODELS.build(distilled_from(tiny_detector('FasterRCNN'), teacher, distill)).train()


def losses_of(model, sizes=((96, 128), (64, 96))):
    data = model.data_preprocessor(random_batch(list(sizes)), True)
    return model.loss(data['inputs'], data['data_samples'])


def test_a_step_of_each(teacher):
    model = build(teacher, TERMS.values())
    losses = losses_of(model)
    terms = {name: losses[f'loss_{index}'] for index, name in enumerate(TERMS)}
    for name, value in terms.items():
        assert value.isfinite(), name
        assert value > 0, name
    sum(terms.values()).backward()
    for index, name in enumerate(TERMS):
        term = model.distiller.terms[f'loss_{index}']
        assert all(parameter.grad is not None for parameter in term.parameters()), name
        assert bool(list(term.parameters())) == name.startswith('MGD'), name


def test_masks_leave_the_padding_out(teacher):
    """The second image is smaller: its padding reaches the losses with a mask."""
    model = build(teacher, [TERMS['MGD, neck'], TERMS['AT, neck']])
    seen = []
    for term in model.distiller.terms.values():
        original = term.loss.forward

        def forward(original=original, **pair):
            seen.append(pair)
            return original(**pair)

        term.loss.forward = forward
    losses_of(model)
    assert len(seen) >= 2
    for pair in seen:
        assert not pair['mask'][1].all()
        assert pair['student'].shape[-2:] == pair['mask'].shape[1:]
