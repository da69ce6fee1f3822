"""Memory of the encoder as maps: its tokens at their pixels, padding, levels, other batches."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from dense_cases import build, losses_of, pairs_of
from query_cases import query_teacher, tiny_queries
from wkd_det.testing import distilled_from

FITNET = dict(type='FitNetLoss')
TERM = dict(tap='memory', levels=[1], connector=dict(type='ConvConnector'), loss=FITNET)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('teachers')


@pytest.fixture(scope='module')
def section(folder):
    return query_teacher(folder, 'DeformableDETR')


def test_a_token_is_a_pixel_of_its_level(section):
    model = build(tiny_queries('DeformableDETR'), section, dict(loss_x=TERM))
    pairs, (student, teacher), _ = pairs_of(model)
    assert student.maps('memory')[0].shape == (2, 32, 12, 16)  # stride 8 of 96 x 128
    for view in (student, teacher):
        tokens, maps = view._outputs.latest('encoder'), view.maps('memory')
        assert len(maps) == 4
        first = 12 * 16  # level 1 follows level 0
        assert_close(tokens[:, first + 3 * 8 + 5], maps[1][:, :, 3, 5])
    pair = pairs['loss_x']
    assert pair['student'].shape == pair['teacher'].shape == (2, 48, 6, 8)
    assert pair['mask'].sum(dim=(1, 2)).tolist() == [6 * 8, 4 * 6]  # the second is 64 x 96


@pytest.mark.parametrize('taps', [['memory'], ['memory', 'query_logits']])
def test_the_decoder_of_the_teacher_runs_only_for_its_queries(section, taps):
    query = dict(tap='query_logits', loss=dict(type='SigmoidKDLoss'))
    terms = {f'loss_{tap}': TERM if tap == 'memory' else query for tap in taps}
    model = build(tiny_queries('DeformableDETR'), section, terms)
    losses_of(model)  # the teacher is there
    teacher, seen = model.distiller.teacher.module, []
    for part in ('encoder', 'decoder'):
        module = teacher.get_submodule(part)
        module.register_forward_hook(lambda *args, part=part: seen.append(part))
    losses_of(model)
    assert seen == ['encoder', 'decoder'][: len(taps)]


def test_detectors_that_read_one_level(folder):
    """A DETR of one map, compared with one of the levels of a Deformable DETR."""
    section = query_teacher(folder, 'DETR')
    model = build(tiny_queries('DETR'), section, dict(loss_x=dict(TERM, levels=None)))
    pairs, *_ = pairs_of(model)
    assert pairs['loss_x']['student'].shape == (2, 48, 3, 4)
    term = dict(TERM, levels=[0], teacher_levels=[2])
    section = query_teacher(folder, 'DeformableDETR')
    model = build(tiny_queries('DETR'), section, dict(loss_x=term))
    assert losses_of(model)['loss_x'] > 0
    with pytest.raises(ValueError, match='memory level 0 has stride 32 .* level 1 has 16'):
        MODELS.build(
            distilled_from(
                tiny_queries('DETR'), section, dict(loss_x=dict(term, teacher_levels=[1]))
            )
        )


def test_a_teacher_that_pads_otherwise(section):
    """Its maps are cut to the student's sizes."""
    padded = copy.deepcopy(section)
    padded['config'].data_preprocessor.pad_size_divisor = 64
    found = []
    for one in (section, padded):
        pairs, *_ = pairs_of(build(tiny_queries('DeformableDETR'), one, dict(loss_x=TERM)))
        found.append(pairs['loss_x'])
    assert found[0]['teacher'].shape == found[1]['teacher'].shape
    assert torch.equal(found[0]['mask'], found[1]['mask'])


def test_images_without_labels(section):
    made = distilled_from(tiny_queries('DeformableDETR'), section, dict(loss_x=TERM))
    with pytest.raises(ValueError, match="loss_x reads 'encoder', which runs on labelled images"):
        MODELS.build(dict(made, unlabelled=dict()))


def test_levels_that_are_not_there(section):
    made = distilled_from(
        tiny_queries('DeformableDETR'), section, dict(loss_x=dict(TERM, levels=[4]))
    )
    with pytest.raises(ValueError, match=r'levels \[4\] of the memory: the student has 4 levels'):
        MODELS.build(made)
