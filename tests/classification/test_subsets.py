"""Stratified subsets: sizes, nesting, disjointness, and classes that are too small."""

import re

import numpy as np
import pytest

from wkd_det.classification.subsets import stratified

LABELS = np.repeat([0, 1, 2], [4, 6, 5])[np.random.default_rng(0).permutation(15)]


def draw(**options):
    return stratified(LABELS, 3, **dict(dict(seed=0, name=str), **options))


def test_each_class_has_its_share_and_the_draw_is_that_of_the_seed():
    chosen = draw(per_class=3)
    assert np.bincount(LABELS[chosen]).tolist() == [3, 3, 3]
    assert len(set(chosen)) == 9
    assert np.array_equal(chosen, draw(per_class=3))
    assert not np.array_equal(chosen, draw(per_class=3, seed=1))
    assert sorted(draw()) == list(range(15))


def test_smaller_subsets_are_parts_of_larger_ones_and_skipped_images_are_others():
    first, more, rest = draw(per_class=2), draw(per_class=3), draw(skipped=2)
    assert set(first) < set(more)
    assert set(first) | set(rest) == set(range(15))
    assert not set(first) & set(rest)


def test_images_without_a_label_are_not_drawn_and_classes_may_be_missing():
    labels = np.array([-1, 2, -1, 2])
    assert sorted(stratified(labels, 4, seed=0, name=str)) == [1, 3]
    assert len(stratified(labels, 4, seed=0, name=str, per_class=1)) == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(per_class=5), 'per_class must lie in [1, 4] for the 0, got 5'),
        (dict(per_class=3, skipped=2), 'per_class must lie in [1, 2] for the 0, got 3'),
        (dict(per_class=0), 'per_class must be an integer of at least 1, got 0'),
        (
            dict(per_class=9, option='val_per_class'),
            'val_per_class must lie in [1, 4] for the 0, got 9',
        ),
        (dict(seed=-1), 'seed must be an integer of at least 0, got -1'),
    ],
)
def test_numbers_outside_their_range(options, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        draw(**options)
