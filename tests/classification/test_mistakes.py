"""Mistakes in a grouping, by hand, and what a data set must say."""

import re

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from wkd_det.classification.mistakes import GroupMistakes
from wkd_det.costs.report import read_grouping

NAMES = ('zebra', 'car', 'horse', 'truck', 'person')  # animal, vehicle, animal, vehicle, person


def evaluated(predicted, labels, names=NAMES, grouping='coco'):
    evaluator = Evaluator(dict(type='GroupMistakes', grouping=grouping))
    evaluator.dataset_meta = dict(classes=names)
    scores = torch.eye(len(names))
    evaluator.process(
        [
            dict(pred_score=scores[guess], gt_label=torch.tensor(label))
            for guess, label in zip(predicted, labels)
        ]
    )
    return evaluator.evaluate(len(labels))


def test_five_images_by_hand():
    #   zebra as horse, car right, horse as car, truck as person, person right
    found = evaluated([2, 1, 1, 4, 4], [0, 1, 2, 3, 4])
    assert found['groups/accuracy'] == pytest.approx(60)
    assert found['groups/distance'] == pytest.approx((1 + 2 + 2) / 3)
    assert found['groups/mistakes'] == {'same group': 1, 'other group': 2}
    assert found['groups/confusion_names'] == ['animal', 'vehicle', 'person']
    assert found['groups/confusion'] == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_no_mistakes():
    found = evaluated([0, 1], [0, 1])
    assert found['groups/accuracy'] == 100
    assert found['groups/distance'] == 0
    assert found['groups/mistakes'] == {'same group': 0, 'other group': 0}


def test_equals_a_loop_over_the_superclasses_of_cifar_100():
    group_of = read_grouping('cifar100')
    names = tuple(sorted(group_of))
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(100, size=(2, 500))
    found = evaluated(predicted, labels, names, 'cifar100')
    pairs = [(names[one], names[other]) for one, other in zip(labels, predicted)]
    same = [group_of[one] == group_of[other] for one, other in pairs]
    distances = [2 - near for (one, other), near in zip(pairs, same) if one != other]
    assert found['groups/accuracy'] == pytest.approx(100 * np.mean(same))
    assert found['groups/distance'] == pytest.approx(np.mean(distances))
    assert np.sum(found['groups/confusion']) == 500
    assert len(found['groups/confusion']) == 20


def test_images_without_a_label_do_not_count():
    assert evaluated([2, 1, 1], [0, -1, 2]) == evaluated([2, 1], [0, 2])


@pytest.mark.parametrize(
    ('names', 'labels', 'message'),
    [
        (None, [0], 'GroupMistakes: the data set names no classes'),
        (NAMES, [-1], 'none of the 1 images has a label to compare with'),
        (('zebra', 'unicorn'), [0], "coco has nothing for the class 'unicorn'; it has "),
    ],
)
def test_what_is_missing(names, labels, message):
    metric = GroupMistakes('coco')
    metric.dataset_meta = None if names is None else dict(classes=names)
    with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
        metric.compute_metrics([(label, 0) for label in labels])


def test_a_grouping_that_is_not_there():
    with pytest.raises(FileNotFoundError, match='^grouping not found: animals '):
        GroupMistakes('animals')
