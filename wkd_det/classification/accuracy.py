"""Accuracy of a classifier, and what its metrics share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from wkd_det.classification.targets import UNLABELLED


class TopKAccuracy(BaseMetric):
    """Percentage of images whose label is among the k classes of highest score.

    Convention:
        - Of equal scores the lower class comes first, so a constant output does not score 100 %.
        - An image without a finite score of its label is not recognised.
        - Images without a label, -1, are not counted.

    Args:
        topk: Values of k; each gives a figure ``accuracy/top<k>``.
        **options: Options of mmengine's ``BaseMetric``.

    Raises:
        ValueError: If a k is not positive or, when scores arrive, above the number of classes.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), **options: Any) -> None:
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold positive numbers, got {topk}')
        super().__init__(**options)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note the rank of the label of each image, 0 for the best."""
        scores, labels = scores_and_labels(data_samples)
        if scores.shape[1] < max(self.topk):
            raise ValueError(f'topk is {self.topk}, but there are {scores.shape[1]} classes')
        own = scores.gather(1, labels.clamp(min=0)[:, None])
        earlier = torch.arange(scores.shape[1]) < labels[:, None]
        better = (scores > own) | ((scores == own) & earlier)
        # NaN is above nothing and nothing is above NaN, so it would have the best rank.
        ranks = better.sum(dim=1).where(own[:, 0].isfinite(), scores.shape[1])
        # Left in, so that processes have as many results as images.
        ranks = ranks.where(labels != UNLABELLED, UNLABELLED)
        self.results.extend(zip(ranks.tolist()))

    def compute_metrics(self, results: list[tuple[int]]) -> dict[str, float]:
        """Return the percentages by ``top<k>``; NaN without images.

        Raises:
            ValueError: If no image has a label.
        """
        ranks = torch.tensor(labelled(results, place=0) if results else [])
        return {f'top{k}': (ranks < k).double().mean().item() * 100 for k in self.topk}


def scores_and_labels(samples: Sequence[Mapping[str, Any]]) -> tuple[Tensor, Tensor]:
    """Return scores ``(N, C)`` as predicted and labels ``(N,)``, on the CPU."""
    scores = torch.stack([sample['pred_score'] for sample in samples]).cpu()
    labels = torch.stack([torch.as_tensor(sample['gt_label']) for sample in samples]).cpu()
    return scores, labels


def labelled(results: Sequence[tuple], place: int) -> list[tuple]:
    """Return the results that belong to images with a label.

    Args:
        results: One per image.
        place: Place in a result that holds -1 where there is no label.

    Raises:
        ValueError: If none does.
    """
    left = [result for result in results if result[place] != UNLABELLED]
    if not left:
        raise ValueError(f'none of the {len(results)} images has a label to compare with')
    return left
