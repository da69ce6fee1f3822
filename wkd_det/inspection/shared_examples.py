"""Shared examples: the same RoIs with the logits and features of several detectors."""

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

from wkd_det.costs.matrix import BACKGROUND
from wkd_det.inspection.roi_features import (
    background_boxes,
    check_samples_background,
    image_seed,
    roi_features,
)


@dataclass(frozen=True)
class SharedExamples:
    """RoIs, with the logits and features of each detector."""

    class_names: list[str]
    """Names of the objects, and ``'background'`` last."""
    labels: Tensor
    """Class of each RoI, shape ``(N,)``."""
    items: Tensor
    """Index of the image of each RoI in the data set, shape ``(N,)``."""
    boxes: Tensor
    """Boxes in pixels of the image as the detectors get it, shape ``(N, 4)``."""
    logits: dict[str, Tensor]
    """Logits by detector, each ``(N, K + 1)``."""
    features: dict[str, Tensor]
    """Input of the classification layer by detector, each ``(N, D)``."""


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
        items: Indices of the images to read.
        class_names: Names of the objects, in the order of the logits.
        background_per_image: Largest number of negatives that are drawn per image.
        seed: Random seed of the draw.

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
        read = {name: _neck_maps(detector, data) for name, detector in detectors.items()}
        sample, maps = next(iter(read.values()))
        truth = sample.gt_instances
        own_boxes, own_labels = truth.bboxes, truth.labels
        if background_per_image:
            own_seed = image_seed(seed, item)
            negatives = background_boxes(first, maps, sample, stage=0, seed=own_seed)
            order = torch.randperm(
                len(negatives), generator=torch.Generator().manual_seed(own_seed)
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
        for name, (_, own_maps) in read.items():
            found = roi_features(detectors[name], own_maps, rois)
            features[name].append(found['penultimate'])
            logits[name].append(found['logits'])
    if not labels:
        raise ValueError(f'the {len(items)} images have no RoIs')
    joined = {name: torch.cat(parts).cpu() for name, parts in logits.items()}
    for name, values in joined.items():
        if values.shape[1] != len(class_names) + 1:
            raise ValueError(
                f'{name} has {values.shape[1] - 1} classes, the data {len(class_names)}'
            )
    return SharedExamples(
        class_names=[*class_names, BACKGROUND],
        labels=torch.cat(labels).cpu(),
        items=torch.cat(owners),
        boxes=torch.cat(boxes).cpu(),
        logits=joined,
        features={name: torch.cat(parts).cpu() for name, parts in features.items()},
    )


def _neck_maps(detector: nn.Module, data: dict[str, Any]) -> tuple[Any, tuple[Tensor, ...]]:
    """Return the data sample and the maps of the neck."""
    data = detector.data_preprocessor(copy.deepcopy(data), False)
    return data['data_samples'][0], detector.extract_feat(data['inputs'])
