"""From the files of a trained classifier to its feature source."""

from __future__ import annotations

import copy
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from wkd_det.classification.image_feature_source import ImageFeatureSource
from wkd_det.distillation.trained_network import check_plain, trained_network


def open_image_features(
    config: Config, checkpoint: str, *, split: str = 'train', name: str = '', **options: Any
) -> ImageFeatureSource:
    """Load a classifier, strictly, and the images of a split as at test time.

    Args:
        config: Of the classifier, with its data.
        checkpoint: Path, http(s) address, ``torchvision://NAME`` or ``timm://NAME``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        name: Of the config, for the metadata.
        **options: Of :class:`ImageFeatureSource`.

    Raises:
        FileNotFoundError, KeyError, ValueError: If checkpoint, config and data are not there or
            do not fit together.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    check_plain(config)
    dataset = _plain_dataset(config, split)
    names = [str(one) for one in dataset.metainfo['classes']]
    classifier, account = trained_network(config, checkpoint, names)
    description = dict(account, config=name, split=split)
    return ImageFeatureSource(classifier, dataset, names, description=description, **options)


def _plain_dataset(config: Config, split: str) -> Dataset:
    """The images of a split with the transforms of the test data: no augmentation."""
    there = [part for part in ('train', 'val', 'test') if config.get(f'{part}_dataloader')]
    if split not in there:
        raise ValueError(f'split must be one of {there}, which the config has; got {split!r}')
    reader = 'test' if 'test' in there else 'val'
    if reader not in there:
        raise ValueError('the config has no test_dataloader or val_dataloader to read images by')
    section = copy.deepcopy(config[f'{split}_dataloader'].dataset)
    section.transforms = config[f'{reader}_dataloader'].dataset.get('transforms', ())
    return DATASETS.build(section)
