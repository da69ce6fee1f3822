"""Predictions of a teacher in the student's classes."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import BaseMetric
from mmengine.structures import InstanceData

from wkd_det.inspection.student_classes import StudentClassesEvaluator


class Seen(BaseMetric):
    """Keeps what it is given."""

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(number=len(results))


def detections(labels):
    number = len(labels)
    return DetDataSample(
        pred_instances=InstanceData(
            labels=torch.tensor(labels, dtype=torch.long),
            scores=torch.arange(1.0, number + 1),
            bboxes=torch.arange(4.0 * number).reshape(number, 4),
        )
    )


@pytest.mark.parametrize(
    ('indices', 'labels', 'own', 'kept'),
    [
        ([2, 0, 1], [0, 1, 2, 2], [1, 2, 0, 0], [0, 1, 2, 3]),
        ([3, 1], [0, 1, 2, 3, 1], [1, 0, 1], [1, 3, 4]),
        ([1], [0, 0], [], []),
        ([1, 0], [], [], []),
    ],
    ids=['order', 'more', 'others only', 'none'],
)
def test_detections(indices, labels, own, kept):
    metric = Seen()
    StudentClassesEvaluator(metric, indices).process([detections(labels)])
    found = metric.results[0]['pred_instances']
    assert found['labels'].tolist() == own
    assert found['scores'].tolist() == [index + 1 for index in kept]
    assert found['bboxes'][:, 0].tolist() == [4 * index for index in kept]


def test_scores_of_a_classifier():
    metric = Seen()
    sample = dict(pred_score=torch.tensor([0.1, 0.2, 0.3, 0.4]), gt_label=torch.tensor(1))
    evaluator = StudentClassesEvaluator(metric, [3, 1])
    evaluator.process([sample])
    assert metric.results[0]['pred_score'].tolist() == pytest.approx([0.4, 0.2])
    assert metric.results[0]['gt_label'] == 1
