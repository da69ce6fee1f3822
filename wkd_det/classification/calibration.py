"""Calibration: whether a classifier is right as often as its probabilities say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from wkd_det.classification.accuracy import labelled, scores_and_labels
from wkd_det.classification.targets import UNLABELLED
from wkd_det.ops.checks import check_integers


class Calibration(BaseMetric):
    """Negative log-likelihood and expected calibration error of the predicted probabilities.

    Convention:
        - ``nll`` is the mean of ``-log p`` of the label, in nats. A probability that float32 has
          rounded to 0 counts as the smallest normal number, 1.2e-38.
        - ``ece`` is the mean over images of ``|share of correct - mean confidence|`` of their bin,
          in percent. The confidence is the largest probability. Bins are of equal width, closed
          above: ``(k / bins, (k + 1) / bins]``.
        - ``calibration`` holds, for a curve, ``count``, mean ``confidence`` and ``accuracy`` (the
          share of correct) of each bin, both in [0, 1] and 0 where a bin is empty.
        - Images without a label, -1, are not counted.

    Args:
        bins: Number of bins.
        **options: Options of mmengine's ``BaseMetric``.

    Raises:
        ValueError: If ``bins`` is no positive integer.

    References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    default_prefix = 'probabilities'

    def __init__(self, bins: int = 15, **options: Any) -> None:
        check_integers(bins=bins)
        super().__init__(**options)
        self.bins = bins

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note confidence, whether it is right, and ``-log p`` of the label of each image."""
        scores, labels = scores_and_labels(data_samples)
        scores = scores.float()
        confidence, predicted = scores.max(dim=1)
        own = scores.gather(1, labels.clamp(min=0)[:, None])[:, 0]
        nll = -own.clamp(min=torch.finfo(torch.float32).tiny).log()
        # Left in, so that processes have as many results as images.
        right = (predicted == labels).long().where(labels != UNLABELLED, UNLABELLED)
        self.results.extend(zip(confidence.tolist(), right.tolist(), nll.tolist()))

    def compute_metrics(self, results: list[tuple[float, int, float]]) -> dict[str, Any]:
        """Return ``nll``, ``ece`` and ``calibration``.

        Raises:
            ValueError: If no image has a label.
        """
        rows = torch.tensor(labelled(results, place=1), dtype=torch.float64)
        confidence, right, nll = rows.unbind(1)
        bins = (confidence * self.bins).ceil().long().clamp(1, self.bins) - 1
        count = torch.zeros(self.bins, dtype=torch.float64).index_add(0, bins, torch.ones_like(nll))
        means = [
            torch.zeros_like(count).index_add(0, bins, values) / count.clamp(min=1)
            for values in (confidence, right)
        ]
        gap = (means[1] - means[0]).abs()
        return dict(
            nll=nll.mean().item(),
            ece=100 * (gap * count / count.sum()).sum().item(),
            calibration=dict(
                count=count.long().tolist(),
                confidence=means[0].tolist(),
                accuracy=means[1].tolist(),
            ),
        )
