"""Calibration by hand, against a loop over bins, and images without a label."""

import re

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from wkd_det.classification.calibration import Calibration


def samples(scores, labels):
    return [
        dict(pred_score=torch.as_tensor(score, dtype=torch.float32), gt_label=torch.tensor(label))
        for score, label in zip(scores, labels)
    ]


def evaluated(scores, labels, **options):
    evaluator = Evaluator(dict(type='Calibration', **options))
    evaluator.process(samples(scores, labels))
    return evaluator.evaluate(len(scores))


def test_three_images_in_two_bins_by_hand():
    scores = [[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]]
    found = evaluated(scores, [0, 1, 0], bins=2)
    expected = -np.log([0.9, 0.3, 0.5]).mean()
    assert found['probabilities/nll'] == pytest.approx(expected, rel=1e-6)  # float32
    # 0.5 closes the lower bin: confidence 0.5, right. The upper one: 0.8 on the mean, half right.
    assert found['probabilities/ece'] == pytest.approx(100 * (0.5 + 2 * 0.3) / 3, rel=1e-6)
    curve = found['probabilities/calibration']
    assert curve['count'] == [1, 2]
    assert curve['confidence'] == pytest.approx([0.5, 0.8], rel=1e-6)
    assert curve['accuracy'] == [1, 0.5]


def test_equals_a_loop_over_bins():
    generator = np.random.default_rng(0)
    scores = generator.dirichlet([0.3] * 5, size=400).astype(np.float32)
    labels = generator.integers(5, size=400)
    found = evaluated(scores, labels)
    confidence, right = scores.max(1), scores.argmax(1) == labels
    total = 0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    # float32 confidences
    assert found['probabilities/ece'] == pytest.approx(100 * total / 400, rel=1e-5)
    assert sum(found['probabilities/calibration']['count']) == 400
    assert len(found['probabilities/calibration']['count']) == 15


def test_sure_and_right_sure_and_wrong():
    found = evaluated([[1.0, 0.0]], [0])
    assert found['probabilities/ece'] == found['probabilities/nll'] == 0
    found = evaluated([[1.0, 0.0]], [1])
    assert found['probabilities/ece'] == 100
    smallest = torch.finfo(torch.float32).tiny
    assert found['probabilities/nll'] == pytest.approx(-np.log(smallest), rel=1e-6)


def test_images_without_a_label_do_not_count():
    labelled = evaluated([[0.9, 0.1], [0.7, 0.3]], [0, 1])
    assert evaluated([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], [0, -1, 1]) == labelled


def test_images_that_the_sampler_has_added_do_not_count():
    evaluator = Evaluator(dict(type='Calibration'))
    evaluator.process(samples([[0.9, 0.1], [0.4, 0.6]], [0, 0]))
    one = Evaluator(dict(type='Calibration'))
    one.process(samples([[0.9, 0.1]], [0]))
    assert evaluator.evaluate(1) == one.evaluate(1)


def test_no_label_at_all():
    with pytest.raises(ValueError, match='^none of the 1 images has a label to compare with$'):
        evaluated([[0.9, 0.1]], [-1])


def test_bins():
    message = re.escape('bins must be an integer of at least 1, got 0')
    with pytest.raises(ValueError, match=f'^{message}$'):
        Calibration(bins=0)
