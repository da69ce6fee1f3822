"""Methods fitted to a pair: what follows from strides, stages, widths and length of training."""

from __future__ import annotations

import copy

import pytest

from wkd_det.inspection.pairs.methods import Facts, Method, fitted, num_samples, remedies
from wkd_det.inspection.pairs.places import PairPlaces, PlaceRow, Side

FPN = [4, 8, 16, 32, 64]
RETINA = [8, 16, 32, 64, 128]


def places(own=FPN, other=FPN, width=64, pyramid='neck'):
    rows = [PlaceRow('neck', Side('level 0', 16, 4), Side('level 0', width, 4))]
    return PairPlaces(256, rows, [], (0, 0), (list(own), list(other)), pyramid)


def method(hooks=(), **terms):
    terms = {name: dict(dict(loss=dict(type='X')), **term) for name, term in terms.items()}
    return Method('m', 'M: a method', terms, hooks=list(hooks))


def fit(term, **facts):
    given = method(loss_x=term)
    before = copy.deepcopy(given)
    facts.setdefault('places', places())
    result = fitted(given, Facts(**facts))
    assert given == before
    return result.distill['loss_x'], result.changes


@pytest.mark.parametrize(
    ('own', 'other', 'levels', 'student', 'teacher'),
    [
        (FPN, FPN, [0, 1, 2, 3], None, None),
        (FPN, FPN, None, None, None),
        (RETINA, RETINA, [1], [0], None),  # P3 is meant
        (RETINA, FPN, [1], [0], [1]),
        (RETINA, FPN, [0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3, 4]),
        (FPN, RETINA, None, [1, 2, 3, 4], [0, 1, 2, 3]),
        (FPN, FPN[:4], None, [0, 1, 2, 3], None),
        ([16], [16], [0, 1, 2, 3], [0], None),
        ([64], [4], [1], None, None),  # nothing in common: training says so
    ],
)
def test_levels_of_equal_strides_meet(own, other, levels, student, teacher):
    """Students and teachers as the shipped configs of such pairs have them."""
    given = dict(tap='neck') if levels is None else dict(tap='neck', levels=levels)
    term, changes = fit(given, places=places(own, other))
    assert term.get('levels') == (levels if student is None else student)
    assert term.get('teacher_levels') == teacher
    assert bool(changes) == (student is not None and (student != levels or teacher is not None))


def test_the_backbone_stands_for_a_neck_that_is_not_there():
    term, changes = fit(
        dict(tap='neck', levels=[0, 1]), places=places([16], [16], pyramid='backbone')
    )
    assert (term['tap'], term['levels']) == ('backbone', [0])
    assert changes == ('loss_x: tap=backbone', 'loss_x: levels=[0]')


@pytest.mark.parametrize(
    ('tap', 'stages', 'chosen'),
    [
        ('roi_logits', (None, None), {}),
        ('roi_logits', (3, 3), dict(stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25])),
        ('roi_feats', (3, 3), dict(stage=0)),
        ('roi_logits', (None, 3), dict(teacher_stage=0)),
        ('roi_logits', (3, None), dict(stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25])),
        (
            'roi_offsets',
            (3, 2),
            dict(stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25], teacher_stage=[0, 1, 1]),
        ),
        ('neck', (3, 3), {}),
    ],
)
def test_stages_of_cascades(tap, stages, chosen):
    term, _ = fit(dict(tap=tap), stages=stages, stage_weights=[1, 0.5, 0.25])
    assert {key: term[key] for key in term if 'stage' in key} == chosen


def test_networks_of_methods_are_no_wider_than_the_teacher():
    icd = dict(tap='instances', loss=dict(type='ICDLoss', width=256, num_heads=8))
    assert fit(icd)[0]['loss'] == dict(type='ICDLoss', width=64, num_heads=8)
    assert fit(icd, places=places(width=20))[0]['loss'] == dict(
        type='ICDLoss', width=20, num_heads=1
    )
    fused = dict(tap='pyramid', connector=dict(type='ABFConnector', mid_channels=256))
    assert fit(fused)[0]['connector']['mid_channels'] == 64
    assert fit(fused, places=places(width=512))[0]['connector']['mid_channels'] == 256


def test_losses_that_keep_samples_count_those_that_are_there():
    crd = dict(tap='pool', loss=dict(type='CRDLoss', num_samples=50000, negatives=16384))
    term, changes = fit(crd, samples=100)
    assert term['loss'] == dict(type='CRDLoss', num_samples=100, negatives=50)
    assert changes == ('loss_x: num_samples=100', 'loss_x: negatives=50')
    assert fit(crd)[0] == crd
    assert num_samples(dict(loss_a=dict(loss=dict(type='A')), loss_b=crd)) == 50000
    assert num_samples({}) is None


@pytest.mark.parametrize(
    ('hook', 'facts', 'wanted'),
    [
        (dict(warm_up=20), dict(length=240), dict(warm_up=20)),
        (dict(warm_up=20), dict(length=12), dict(warm_up=2)),
        (dict(warm_up=1), dict(length=12), dict(warm_up=1)),
        (dict(warm_up=20), dict(), dict(warm_up=20)),
        (dict(warm_up=20), dict(length=120, by_epoch=False), dict(warm_up=10, by_epoch=False)),
        (dict(warm_up=1000, by_epoch=False), dict(length=12), dict(warm_up=1000, by_epoch=False)),
        (
            dict(warm_up=1000, by_epoch=False),
            dict(length=500, by_epoch=False),
            dict(warm_up=50, by_epoch=False),
        ),
    ],
)
def test_warm_ups_keep_their_part_of_the_training(hook, facts, wanted):
    """20 epochs are those of 240, 1000 iterations a tenth at most: as in the shipped configs."""
    hook = dict(type='TermScheduleHook', terms=['loss_x'], **hook)
    found = fitted(method([hook], loss_x=dict(tap='logits')), Facts(places=places(), **facts))
    assert found.hooks == [dict(type='TermScheduleHook', terms=['loss_x'], **wanted)]


def test_a_refusal_is_answered_at_the_term_that_it_names():
    given = method(loss_a=dict(tap='last'), loss_b=dict(tap='middle'), loss_c=dict(tap='logits'))
    first, second, third = remedies(given, 'distill.loss_b needs a connector')
    assert 'connector' not in first.distill['loss_a']
    assert first.distill['loss_b']['connector']['type'] == 'ConvConnector'
    assert first.changes == ('loss_b: 1 x 1 connector',)
    assert second.distill['loss_b']['connector']['resize'] is True
    assert third.distill['loss_b']['same_size'] is False
    unnamed, *_ = remedies(given, 'the student gives 8 x 8')
    assert 'connector' in unnamed.distill['loss_a']
    assert 'connector' not in unnamed.distill['loss_c']
