"""Top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Share of images whose label is among the k classes of highest score, in percent.

    Convention:
        Of equal scores the lower class comes first, so a constant output does not score 100 %.

    Args:
        topk: Values of k; each gives a figure ``accuracy/top<k>``.
        **options: Of mmengine's ``BaseMetric``.

    Raises:
        ValueError: If a k is not positive, or (when evaluated) above the number of classes.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), **options: Any) -> None:
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold positive numbers, got {topk}')
        super().__init__(**options)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note the rank of each image's label, 0 for the best."""
        scores = torch.stack([sample['pred_score'] for sample in data_samples])
        labels = torch.stack([torch.as_tensor(sample['gt_label']) for sample in data_samples])
        if scores.shape[1] < max(self.topk):
            raise ValueError(f'topk is {self.topk}, but there are {scores.shape[1]} classes')
        labels = labels.to(scores.device)[:, None]
        own = scores.gather(1, labels)
        earlier = torch.arange(scores.shape[1], device=scores.device) < labels
        better = (scores > own) | ((scores == own) & earlier)
        # NaN is above nothing: an image without a finite score is not recognised.
        ranks = better.sum(dim=1).where(own[:, 0].isfinite(), scores.shape[1])
        self.results.extend(ranks.tolist())

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Percent by ``top<k>``."""
        ranks = torch.tensor(results)
        return {f'top{k}': (ranks < k).double().mean().item() * 100 for k in self.topk}
