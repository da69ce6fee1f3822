"""Small classifiers, their distillation sections and batches, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor


def classifier_config(name: str = 'resnet8', num_classes: int = 10, **changes: Any) -> dict:
    """Config of a plain classifier of the CIFAR zoo; changes go into the model."""
    network = dict(type='CifarModel', name=name, num_classes=num_classes)
    return dict(dict(type='Classifier', network=network), **changes)


def save_classifier(config: dict, path: str | Path, *, seed: int = 1, bare: bool = False) -> dict:
    """Random weights on disk, as a ``teacher`` section names them.

    Args:
        config: Of the classifier.
        path: Where to.
        seed: Of the weights.
        bare: Save those of the network alone, as public archives do.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MODELS.build(config)
    state = (model.network if bare else model).state_dict()
    names = [f'class {index}' for index in range(model.num_classes)]
    meta = {} if bare else dict(meta=dict(dataset_meta=dict(classes=names)))
    torch.save(dict(meta, **{'model' if bare else 'state_dict': state}), path)
    return dict(config=config, checkpoint=str(path))


def class_logits_term(**changes: Any) -> dict[str, Any]:
    """WKD-L on the logits; changes go into the loss."""
    return dict(
        tap='logits', loss=dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), **changes)
    )


def module_term(tap: str = 'layer3', **changes: Any) -> dict[str, Any]:
    """WKD-F on the output of a module with a 1 x 1 connector; changes go into the term."""
    term = dict(
        tap=tap,
        connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
        loss=dict(type='WKDFeatureLoss', grid=2, loss_weight=0.05),
    )
    return dict(term, **changes)


def image_batch(
    count: int = 4, *, size: int = 32, num_classes: int = 10, seed: int = 0
) -> list[Tensor]:
    """Bytes of images ``(N, 3, size, size)`` and labels ``(N,)``, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return [images, torch.randint(0, num_classes, (count,), generator=generator)]
