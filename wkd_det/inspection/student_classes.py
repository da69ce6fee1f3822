"""Evaluation of a teacher in the student's classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement


class StudentClassesEvaluator(Evaluator):
    """mmengine's evaluator on predictions of a teacher whose classes are ordered otherwise.

    Detections get the labels of the student's classes, and those of other classes are left out,
    after the network has kept its best ones of all classes (``max_per_img``). Scores of a
    classifier are brought into the student's order.

    Args:
        metrics: As of mmengine's ``Evaluator``.
        indices: For each class of the student, its index among the teacher's classes.
    """

    def __init__(self, metrics: Any, indices: Sequence[int]) -> None:
        super().__init__(metrics)
        self.indices = list(indices)

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        """Hand the predictions to the metrics in the student's classes."""
        for sample in data_samples:
            if isinstance(sample, BaseDataElement):
                sample.pred_instances = self._own(sample.pred_instances)
            else:
                sample['pred_score'] = sample['pred_score'][self.indices]
        super().process(data_samples, data_batch)

    def _own(self, detections: Any) -> Any:
        labels = detections.labels
        size = max([*self.indices, *labels.tolist()]) + 1
        own = torch.full((size,), -1, dtype=labels.dtype, device=labels.device)
        own[self.indices] = torch.arange(len(self.indices), dtype=own.dtype, device=own.device)
        known = own[labels] >= 0
        kept = detections[known]
        kept.labels = own[labels[known]]
        return kept
