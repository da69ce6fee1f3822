"""Class names: what metainfos say, and how names are matched."""

from __future__ import annotations

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import get_classes
from mmengine.config import ConfigDict

from wkd_det.runtime.class_names import (
    check_unique,
    checkpoint_class_names,
    names_in,
    positions_by_name,
    same_names,
    spelling,
)

CATS = dict(classes=('cat', 'dog'))


# Metainfos


@pytest.mark.parametrize(
    ('metainfo', 'names'),
    [
        (CATS, ['cat', 'dog']),
        (dict(CLASSES=['cat']), ['cat']),
        (ConfigDict(classes=['cat', 'dog'], palette=None), ['cat', 'dog']),
        (dict(classes='cat'), ['cat']),
        (dict(classes=(0, 1)), ['0', '1']),
        (dict(classes=None, CLASSES=('cat',)), ['cat']),
        (dict(classes=()), None),
        (dict(palette=[(0, 0, 0)]), None),
        (None, None),
        ('cat', None),
        ([], None),
        ([CATS], ['cat', 'dog']),
        ([CATS, dict(CATS, palette=[(0, 0, 0)])], ['cat', 'dog']),
        ((CATS, dict(classes=['cat', 'dog'])), ['cat', 'dog']),
        ([CATS, [CATS, dict(CATS, palette=[])]], ['cat', 'dog']),
        ([CATS, dict(classes=['Cat', 'DOG'])], ['cat', 'dog']),
        ([CATS, dict(palette=[])], None),
        ([None, CATS], None),
    ],
)
def test_names_of_a_metainfo(metainfo, names):
    assert names_in(metainfo) == names


@pytest.mark.parametrize(
    'others', [('dog', 'cat'), ('cat',), ('cat', 'dog', 'cow'), ('cat', 'cow')], ids=str
)
@pytest.mark.parametrize('nest', [lambda a, b: [a, b], lambda a, b: [a, None, [a, b]]])
def test_joined_sets_that_name_different_classes(others, nest):
    message = (
        r'^the joined data sets name different classes, so a label does not say which class it '
        rf"is: \['cat', 'dog'\] and \[{', '.join(repr(name) for name in others)}\]$"
    )
    with pytest.raises(ValueError, match=message):
        names_in(nest(CATS, dict(classes=others)))


@pytest.mark.parametrize(
    ('checkpoint', 'names'),
    [
        (dict(meta=dict(dataset_meta=CATS)), ['cat', 'dog']),
        (dict(meta=dict(dataset_meta=[CATS, dict(CATS, palette=[])])), ['cat', 'dog']),
        (dict(meta=dict(CLASSES=('cat',))), ['cat']),  # MMDetection 2
        (dict(meta=dict(dataset_meta={}, CLASSES=('cat',))), ['cat']),
        (dict(meta=dict(epoch=3)), None),
        (dict(meta=None), None),
        (dict(meta='none'), None),
        ({}, None),
    ],
)
def test_names_of_a_checkpoint(checkpoint, names):
    assert checkpoint_class_names(checkpoint) == names


def test_a_checkpoint_of_sets_that_differ():
    message = "^the data sets of the teacher's checkpoint name different classes, so a label "
    with pytest.raises(ValueError, match=message):
        checkpoint_class_names(dict(meta=dict(dataset_meta=[CATS, dict(classes=('cow', 'ox'))])))


# Spelling


@pytest.mark.parametrize(
    'other', ['Traffic Light', 'traffic_light', 'traffic-light', 'TRAFFICLIGHT', ' traffic  light ']
)
def test_spellings_of_one_name(other):
    assert spelling(other) == spelling('traffic light')
    assert same_names(['cat', other], ['Cat', 'traffic light'])


@pytest.mark.parametrize('other', ['traffic lights', 'light traffic', 'traffic/light', ''])
def test_other_names(other):
    assert spelling(other) != spelling('traffic light')
    assert not same_names([other], ['traffic light'])


def test_the_two_spellings_of_coco_in_mmdet():
    ours, old = list(CocoDataset.METAINFO['classes']), list(get_classes('coco'))
    assert ours != old
    assert same_names(ours, old)
    assert positions_by_name(ours, old[::-1], 'one', 'other') == list(range(79, -1, -1))


# Matching


@pytest.mark.parametrize(
    ('wanted', 'available', 'positions'),
    [
        (['b', 'a'], ['a', 'b', 'c'], [1, 0]),
        (['a', 'x'], ['a', 'b'], [0, None]),
        (['Stop_Sign'], ['cat', 'stop sign'], [1]),
        (['US', 'us'], ['us', 'US'], [1, 0]),  # as they stand, before any other spelling
        (['US', 'us'], ['us', 'Us'], [1, 0]),  # what is left for 'US'
        (['us'], ['US', 'Us'], [None]),  # either could be meant
        (['US', 'Us'], ['us', 'cat'], [None, None]),  # so could these
        (['a'], ['b', 'b', 'a'], [2]),  # names that nobody asks for may occur twice
        ([], ['a'], []),
    ],
)
def test_positions(wanted, available, positions):
    assert positions_by_name(wanted, available, 'one', 'the other') == positions


def test_names_that_occur_twice_cannot_be_matched():
    rule = 'classes are matched by name, so each name must occur once$'
    with pytest.raises(ValueError, match=f"^one has more than one class called 'crane': {rule}"):
        positions_by_name(['cat', 'crane', 'crane'], ['crane', 'cat', 'dog'], 'one', 'the other')
    message = f"^the other has more than one class called 'crane', 'bat': {rule}"
    with pytest.raises(ValueError, match=message):
        positions_by_name(
            ['Crane', 'bat'], ['crane', 'bat', 'bat', 'cow', 'cow', 'crane'], 'one', 'the other'
        )
    check_unique(['a', 'A'], 'one')


@pytest.mark.parametrize(
    ('names', 'others', 'same'),
    [
        (['traffic light', 'Bus'], ['traffic_light', 'bus'], True),
        (['cat', 'dog'], ['dog', 'cat'], False),
        # Characters: case is what sets these classes apart.
        (['cat', 'dog', 'Dog'], ['cat', 'Dog', 'dog'], False),
        (['a', 'A'], ['A', 'a'], False),
        (['a', 'A'], ['a', 'A'], True),
        (['-', '_'], ['_', '-'], False),
    ],
)
def test_the_same_names_in_the_same_order(names, others, same):
    assert same_names(names, others) == same
