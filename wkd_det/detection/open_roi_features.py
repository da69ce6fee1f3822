"""From the files of a trained detector to its feature source."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from wkd_det.detection.annotated_dataset import annotated_dataset
from wkd_det.detection.roi_feature_source import RoIFeatureSource
from wkd_det.distillation.trained_network import check_plain, trained_network


def open_roi_features(
    config: Config, checkpoint: str, *, split: str = 'train', name: str = '', **options: Any
) -> RoIFeatureSource:
    """Load a detector, strictly, and the data of a split.

    Args:
        config: Of the detector, with its data.
        checkpoint: Path or http(s) address of its weights.
        split: ``'train'``, ``'val'`` or ``'test'``.
        name: Of the config, for the metadata.
        **options: Of :class:`RoIFeatureSource`.

    Raises:
        FileNotFoundError, KeyError, ValueError: If checkpoint, config and data are not there or
            do not fit together.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    check_plain(config)
    dataset = annotated_dataset(config, split)
    names = [str(one) for one in dataset.metainfo.get('classes') or ()]
    detector, account = trained_network(config, checkpoint, names)
    description = dict(account, config=name, split=split)
    return RoIFeatureSource(detector, dataset, names, description=description, **options)
