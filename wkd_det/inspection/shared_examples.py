"""The same RoIs as several detectors see them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.utils.data import Dataset

from wkd_det.detection.heads import penultimate_features
from wkd_det.inspection.roi_features import background_boxes, check_samples_background


@dataclass(frozen=True)
class SharedExamples:
    """RoIs and what each detector makes of them."""

    class_names: list[str]
    """Of the objects, and ``'background'`` last."""
    labels: Tensor
    """Shape ``(N,)``."""
    items: Tensor
    """Index of the image of each RoI in the data set, shape ``(N,)``."""
    boxes: Tensor
    """In pixels of the image as the detectors get it, shape ``(N, 4)``."""
    logits: dict[str, Tensor]
    """By detector, each ``(N, K + 1)``."""
    features: dict[str, Tensor]
    """By detector, what its classification layer reads, each ``(N, D)``."""


@torch.no_grad()
def shared_examples(
    detectors: Mapping[str, nn.Module],
    dataset: Dataset,
    items: Sequence[int],
    class_names: Sequence[str],
    *,
    background_per_image: int = 2,
    seed: int = 0,
) -> SharedExamples:
    """Show all detectors the boxes of the objects, and negatives of the first one's RPN.

    Each detector normalises the image as it was trained to.

    Args:
        detectors: Two-stage detectors by name, in eval mode.
        dataset: Images with ground truth; see
            :func:`~wkd_det.inspection.opening.annotated_dataset`.
        items: Images to read.
        class_names: Of the objects, in the order of the logits.
        background_per_image: Negatives that are drawn of each image, at most.
        seed: Of the draw.

    Raises:
        ValueError: If there are no RoIs, or a detector has other classes.
    """
    first = next(iter(detectors.values()))
    if background_per_image:
        check_samples_background(first)
    labels, owners, boxes = [], [], []
    logits: dict[str, list[Tensor]] = {name: [] for name in detectors}
    features: dict[str, list[Tensor]] = {name: [] for name in detectors}
    for item in items:
        data = pseudo_collate([dataset[item]])
        views = {name: _view(detector, data) for name, detector in detectors.items()}
        sample, maps = next(iter(views.values()))
        truth = sample.gt_instances
        own_boxes, own_labels = truth.bboxes, truth.labels
        if background_per_image:
            negatives = background_boxes(first, maps, sample, stage=0, seed=seed * 1_000_003 + item)
            order = torch.randperm(
                len(negatives), generator=torch.Generator().manual_seed(seed * 1_000_003 + item)
            )
            negatives = negatives[order[:background_per_image]]
            own_boxes = torch.cat([own_boxes, negatives])
            own_labels = torch.cat(
                [own_labels, own_labels.new_full((len(negatives),), len(class_names))]
            )
        if not len(own_boxes):
            continue
        labels.append(own_labels)
        boxes.append(own_boxes)
        owners.append(torch.full((len(own_boxes),), item))
        rois = bbox2roi([own_boxes])
        for name, (_, own_maps) in views.items():
            seen, result = penultimate_features(detectors[name], own_maps, rois, 0)
            features[name].append(seen)
            logits[name].append(result['cls_score'])
    if not labels:
        raise ValueError(f'the {len(items)} images have no RoIs')
    joined = {name: torch.cat(parts).cpu() for name, parts in logits.items()}
    for name, values in joined.items():
        if values.shape[1] != len(class_names) + 1:
            raise ValueError(
                f'{name} has {values.shape[1] - 1} classes, the data {len(class_names)}'
            )
    return SharedExamples(
        class_names=[*class_names, 'background'],
        labels=torch.cat(labels).cpu(),
        items=torch.cat(owners),
        boxes=torch.cat(boxes).cpu(),
        logits=joined,
        features={name: torch.cat(parts).cpu() for name, parts in features.items()},
    )


def _view(detector: nn.Module, data: dict[str, Any]) -> tuple[Any, tuple[Tensor, ...]]:
    """The data sample and the neck maps."""
    data = detector.data_preprocessor(copy.deepcopy(data), False)
    return data['data_samples'][0], detector.extract_feat(data['inputs'])
