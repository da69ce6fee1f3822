"""A batch of random images with all that any family of MMDetection is trained with."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData

from wkd_det.testing import random_batch

SIZES = {'ssd': 300}
"""Sides of the images in pixels, where they are not of the usual size."""
SIDE = 128
BOXES_ALONE = {'rtmdet'}
"""Families that take masks for something else where there are any."""
_PROPOSALS = 60
_SEGMENT = 1 / 8
"""Scale of the segments of scenes: that of the semantic branches of HTC and SCNet."""


def batch_of(family: str, model: dict[str, Any], num_classes: int) -> dict[str, Any]:
    """Images and annotations as a data loader gives them.

    Args:
        family: Name of the family.
        model: Its model config.
        num_classes: Number of object classes.
    """
    side, masks = SIZES.get(family, SIDE), family not in BOXES_ALONE
    batch = random_batch([(side, side)] * 2, num_classes=num_classes, masks=masks, seed=1)
    generator = torch.Generator().manual_seed(2)
    scale = 1 if _has(model, 'panoptic_head') or model['type'] == 'PanopticFPN' else _SEGMENT
    for sample in batch['data_samples']:
        length = int(side * scale)
        segments = torch.randint(0, num_classes, (1, length, length), generator=generator)
        sample.gt_sem_seg = PixelData(sem_seg=segments)
        corners = torch.rand(_PROPOSALS, 2, generator=generator) * side / 2
        extents = (0.1 + 0.4 * torch.rand(_PROPOSALS, 2, generator=generator)) * side
        sample.proposals = InstanceData(
            bboxes=torch.cat([corners, corners + extents], 1), scores=torch.ones(_PROPOSALS)
        )
    return batch


def _has(model: dict[str, Any], name: str) -> bool:
    return model.get(name) is not None
