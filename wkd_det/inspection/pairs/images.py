"""Random images with labels, as the loaders of detectors and classifiers give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.distillation.model import DistilledModel

_OBJECTS = 3  # per image


def random_images(
    model: DistilledModel, *, count: int, size: int, strong: bool = False
) -> dict[str, Any]:
    """Return a batch before the data preprocessor.

    Args:
        model: A detector or a classifier; its channels and number of classes are read.
        count: Number of images.
        size: Side in pixels.
        strong: Whether images of a classifier have a second view.
    """
    classes = model.num_classes_of(model) or 1
    channels = _channels(model)
    if hasattr(model, 'backbone'):
        return _of_a_detector(model, count, size, channels, classes)
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    batch: dict[str, Any] = dict(
        images=images,
        labels=torch.randint(0, classes, (count,), generator=generator),
        indices=torch.arange(count),
    )
    if strong:
        batch['strong'] = images.flip(-1)
    return batch


def random_labels(count: int, classes: int) -> Tensor:
    """Return a label for each of some training images, every class among them."""
    return torch.arange(count) % max(classes, 1)


def losses_of(model: DistilledModel, data: Any) -> dict[str, Any]:
    """Return the losses of a batch as the data preprocessor gives it, of either task."""
    if isinstance(data, Mapping):
        return model(**data, mode='loss')
    return model(*data, mode='loss')


def _channels(model: DistilledModel) -> int:
    if hasattr(model, 'dry_run'):  # a detector: one mean may stand for all channels
        return model.dry_run().image[1]
    mean = getattr(model.data_preprocessor, 'mean', None)
    return 3 if mean is None or mean.numel() == 1 else mean.numel()


def _of_a_detector(
    model: nn.Module, count: int, size: int, channels: int, classes: int
) -> dict[str, Any]:
    from mmdet.testing import demo_mm_inputs

    roi_head = getattr(model, 'roi_head', None)
    batch = demo_mm_inputs(
        batch_size=count,
        image_shapes=[(channels, size, size)] * count,
        num_items=[_OBJECTS] * count,
        num_classes=classes + 1,
        with_mask=getattr(model, 'with_mask', False) or hasattr(model, 'mask_head'),
        with_semantic=getattr(roi_head, 'with_semantic', False) or hasattr(model, 'semantic_head'),
    )
    for sample in batch['data_samples']:
        sample.gt_instances.labels -= 1  # drawn from 1 on
    return dict(inputs=batch['inputs'], data_samples=batch['data_samples'])
