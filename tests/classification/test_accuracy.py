"""Top-k accuracy: ties, images without a label or a finite score, none at all."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.evaluator import Evaluator

from wkd_det.classification.accuracy import TopKAccuracy


def samples(scores, labels):
    return [dict(pred_score=score, gt_label=label) for score, label in zip(scores, labels)]


@pytest.mark.parametrize('k', [1, 3, 5])
def test_equals_a_count_over_sorted_scores(k):
    torch.manual_seed(0)
    scores, labels = torch.rand(200, 9), torch.randint(0, 9, (200,))
    evaluator = Evaluator([dict(type='TopKAccuracy', topk=(k,))])
    for start in (0, 70, 140):
        part = slice(start, start + 70)
        evaluator.process(samples(scores[part], labels[part]))
    hits = [label in row.argsort(descending=True)[:k] for row, label in zip(scores, labels)]
    found = evaluator.evaluate(200)
    assert found == {f'accuracy/top{k}': pytest.approx(100 * sum(hits) / 200)}


def test_images_that_the_sampler_has_added_do_not_count():
    metric = TopKAccuracy((1,))
    scores = torch.eye(2)
    metric.process(None, samples(scores, [torch.tensor(0), torch.tensor(1)]))
    metric.process(None, samples(scores[:1], [torch.tensor(1)]))
    assert metric.evaluate(2) == {'accuracy/top1': 100.0}


def test_constant_and_non_finite_scores_recognise_nothing():
    metric = TopKAccuracy((1,))
    scores = torch.stack([torch.ones(4), torch.full((4,), float('nan'))])
    metric.process(None, samples(scores, [torch.tensor(2), torch.tensor(0)]))
    assert metric.evaluate(2) == {'accuracy/top1': 0.0}


def test_images_without_a_label_are_not_counted():
    metric = TopKAccuracy((1,))
    scores = torch.eye(3)
    labels = [torch.tensor(label) for label in (0, -1, 1)]
    metric.process(None, samples(scores, labels))
    assert len(metric.results) == 3
    assert metric.evaluate(3) == {'accuracy/top1': 50.0}
    metric.process(None, samples(scores, [torch.tensor(-1)] * 3))
    message = '^none of the 3 images has a label to compare with$'
    with pytest.raises(ValueError, match=message):
        metric.evaluate(3)


# Errors


def test_k_beyond_the_classes():
    message = 'topk is (1, 5), but there are 3 classes'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        TopKAccuracy().process(None, samples(torch.rand(1, 3), [torch.tensor(0)]))


@pytest.mark.parametrize('topk', [(0,), ()])
def test_k_that_is_not_positive(topk):
    message = f'topk must hold positive numbers, got {topk}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        TopKAccuracy(topk)
