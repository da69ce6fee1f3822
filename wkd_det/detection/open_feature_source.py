"""From the files of a trained detector to its feature source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from wkd_det.checkpoint import weights_hash
from wkd_det.detection.annotated_dataset import annotated_dataset
from wkd_det.detection.roi_feature_source import RoIFeatureSource
from wkd_det.distillation import TeacherSource


def open_feature_source(
    config: Config,
    checkpoint: str | os.PathLike,
    *,
    split: str = 'train',
    name: str = '',
    **options: Any,
) -> RoIFeatureSource:
    """Load a detector, strictly, and the data of a split.

    Args:
        config: Of the detector, with its data.
        checkpoint: Path or http(s) address of its weights.
        split: ``'train'``, ``'val'`` or ``'test'``.
        name: Of the config, for the metadata.
        **options: Of :class:`RoIFeatureSource`.

    Raises:
        FileNotFoundError: If checkpoint or annotations are not there.
        KeyError: If the config has no model.
        ValueError: If checkpoint, config and data do not fit together, or the model is distilled.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    if 'model' not in config:
        raise KeyError('the config has no model section')
    if config.model.get('teacher') or config.model.get('distill'):
        raise ValueError(
            f'{config.model.type} is a student with its teacher: give the config and the '
            'checkpoint of the teacher (model.teacher.config)'
        )
    dataset = annotated_dataset(config, split)
    names = [str(one) for one in dataset.metainfo.get('classes') or ()]
    teacher = TeacherSource(config=dict(model=config.model), checkpoint=str(checkpoint)).load()
    if teacher.class_names is not None and teacher.class_names != names:
        raise ValueError(
            f'the data have the classes {names[:8]} and the checkpoint {teacher.class_names[:8]}'
            ' (the first 8 each): they must be the same, in the same order'
        )
    description = dict(
        config=name,
        checkpoint=Path(str(checkpoint)).name,
        weights_sha256=weights_hash(teacher.module),
        split=split,
    )
    return RoIFeatureSource(
        teacher.module.to(get_device()), dataset, names, description=description, **options
    )
