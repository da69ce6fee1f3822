"""What one training pass of the student leaves behind for the terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn


@dataclass
class RoIStage:
    """One call of the box head: a Faster R-CNN has one, a Cascade one a stage."""

    rois: Tensor
    """Image index and box, shape ``(R, 5)``, in pixels of the batch."""
    labels: Tensor
    """Assigned classes, shape ``(R,)``; the number of classes stands for background."""
    logits: Tensor
    """Shape ``(R, K + 1)``."""
    features: Tensor
    """RoIAlign output, shape ``(R, C, H, W)``."""


@dataclass
class Record:
    """Values of one call of the student's ``loss``."""

    inputs: Tensor
    """The batch, shape ``(N, 3, H, W)``."""
    image_sizes: list[tuple[int, int]]
    """Height and width of each image without padding."""
    backbone: tuple[Tensor, ...] = ()
    neck: tuple[Tensor, ...] = ()
    stages: list[RoIStage] = field(default_factory=list)


@contextmanager
def recording(student: nn.Module, record: Record) -> Iterator[None]:
    """Fill ``record`` while the student's own ``loss`` runs inside the block.

    Nothing of the student is run again and nothing stays attached to it: module hooks note the
    maps, and a wrapper on the RoI head instance notes the arguments and the result of
    ``bbox_loss``, so sampling, RoIs and labels are the student's own.
    """
    handles = []
    for name in ('backbone', 'neck'):
        module = getattr(student, name, None)
        if isinstance(module, nn.Module):
            handles.append(module.register_forward_hook(partial(_note_maps, record, name)))
    roi_head = getattr(student, 'roi_head', None)
    if roi_head is not None:
        _wrap_bbox_loss(roi_head, record)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if roi_head is not None:
            del roi_head.bbox_loss


def _note_maps(
    record: Record, name: str, module: nn.Module, inputs: Any, output: tuple[Tensor, ...]
) -> None:
    setattr(record, name, tuple(output))


def _wrap_bbox_loss(roi_head: nn.Module, record: Record) -> None:
    original = roi_head.bbox_loss

    def bbox_loss(*args: Any, **kwargs: Any) -> dict[str, Any]:
        result = original(*args, **kwargs)
        # StandardRoIHead: (x, sampling_results); CascadeRoIHead: (stage, x, sampling_results)
        sampling_results = kwargs.get('sampling_results', args[-1] if args else None)
        record.stages.append(
            RoIStage(
                rois=bbox2roi([sampled.priors for sampled in sampling_results]),
                labels=_labels(sampling_results, result['cls_score'].shape[1] - 1),
                logits=result['cls_score'],
                features=result['bbox_feats'],
            )
        )
        return result

    roi_head.bbox_loss = bbox_loss


def _labels(sampling_results: list[Any], background: int) -> Tensor:
    """Classes in the row order of ``bbox2roi``: the positives of an image, then its negatives."""
    labels = []
    for sampled in sampling_results:
        negatives = sampled.neg_priors.shape[0]
        labels += [
            sampled.pos_gt_labels,
            sampled.pos_gt_labels.new_full((negatives,), background),
        ]
    return torch.cat(labels)
