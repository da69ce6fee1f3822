"""Trained networks and their data: from a config and a checkpoint to what can be measured."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import Dataset

from wkd_det.costs.features import FeatureSource
from wkd_det.distillation.teacher import TeacherSource
from wkd_det.runtime.class_names import names_in, same_names
from wkd_det.runtime.config import read_config
from wkd_det.runtime.state import weights_hash

SPLITS = ('train', 'val', 'test')


def open_features(
    source: type[FeatureSource],
    dataset_of: Callable[[Config, str], Dataset],
    config: str | os.PathLike | Mapping[str, Any] | Config,
    checkpoint: str | os.PathLike,
    *,
    split: str,
    name: str,
    **options: Any,
) -> FeatureSource:
    """Load a network, strictly, and the data of a split, as a source of class features.

    Args:
        source: Class of the source.
        dataset_of: Builds the data set of a split.
        config: Config of the network and its data; see
            :func:`~wkd_det.runtime.config.read_config`.
        checkpoint: Path or address, as in a ``teacher`` section.
        split: One of ``SPLITS``.
        name: Name of the config, for the metadata.
        **options: Options of the source.

    Raises:
        FileNotFoundError, KeyError, ValueError: If checkpoint, config and data are not there or
            do not fit together.
    """
    config = read_config(config)
    init_default_scope(config.get('default_scope') or 'mmdet')
    check_plain(config)
    dataset = dataset_of(config, split)
    names = names_in(dataset.metainfo) or []
    network, account = trained_network(config, checkpoint, names)
    description = dict(account, config=name, split=split)
    return source(network, dataset, names, description=description, **options)


def trained_network(
    config: Config, checkpoint: str | os.PathLike, class_names: Sequence[str]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a config and load its weights, strictly.

    Args:
        config: A config with the section ``model``.
        checkpoint: Path or address, as in a ``teacher`` section.
        class_names: Names of the classes of the data.

    Returns:
        The network, frozen, in eval mode, on the device of this process; and an account of its
        weights, for metadata.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If the weights do not fit, or the checkpoint names other classes than the
            data.
    """
    teacher = TeacherSource(config=dict(model=config.model), checkpoint=checkpoint).load()
    known = teacher.class_names
    if known is not None and not same_names(known, class_names):
        raise ValueError(
            f'the data have the classes {list(class_names)[:8]} and the checkpoint {known[:8]}'
            ' (the first 8 each): they must be the same, in the same order'
        )
    account = dict(checkpoint=Path(checkpoint).name, weights_sha256=weights_hash(teacher.module))
    return teacher.module.to(get_device()), account


def check_plain(config: Config) -> None:
    """Refuse configs whose network is not trained by itself.

    Raises:
        KeyError: If the config has no model.
        ValueError: If the model is distilled.
    """
    if 'model' not in config:
        raise KeyError('the config has no model section')
    model = config.model
    if model.get('teachers'):
        named = ', '.join(f'model.teachers.{name}.config' for name in model.teachers)
        raise ValueError(
            f'{model.type} is a student with its teachers: give the config and the checkpoint of '
            f'one of them ({named})'
        )
    if model.get('teacher') or model.get('distill'):
        raise ValueError(
            f'{model.type} is a student with its teacher: give the config and the checkpoint of '
            'the teacher (model.teacher.config)'
        )


def data_of(config: Config, split: str) -> ConfigDict:
    """Return a copy of the data set's section of a split.

    Raises:
        ValueError: If the config has no such split.
    """
    there = [name for name in SPLITS if config.get(f'{name}_dataloader')]
    if split not in there:
        raise ValueError(f'split must be one of {there}, which the config has; got {split!r}')
    return copy.deepcopy(config[f'{split}_dataloader'].dataset)


def unaugmented_data_of(config: Config) -> ConfigDict:
    """Return a copy of the data set's section by which images are read without augmentation.

    Raises:
        ValueError: If the config has no data to test or to validate on.
    """
    for split in ('test', 'val'):
        if config.get(f'{split}_dataloader'):
            return data_of(config, split)
    raise ValueError('the config has no test_dataloader or val_dataloader to read images by')


def annotated_dataset(config: Config, split: str) -> Dataset:
    """Build the data set of a split, with its ground truth and without augmentation.

    Images are loaded and resized by the pipeline of the test data. Boxes are read before the
    resize, so that they are resized too: the test pipelines of MMDetection read them after it,
    since there they only serve evaluation. Wrappers that repeat or mix images are taken off at
    any depth; joined sets stay joined.

    Args:
        config: A config with ``<split>_dataloader`` and the pipeline of ``test_dataloader`` or
            ``val_dataloader``.
        split: One of ``SPLITS``.

    Raises:
        ValueError: If the split is not there or has no images.
    """
    section = _unwrapped(data_of(config, split))
    pipeline = _pipeline(config)
    for one in plain_sets(section):
        one.pipeline = copy.deepcopy(pipeline)
        one.test_mode = True  # an image that cannot be read is an error, not another image
    try:
        dataset = DATASETS.build(section)
    except ValueError as error:
        # mmengine joins the records of all images and finds none.
        if 'need at least one array' not in str(error):
            raise
        raise ValueError(f'the split {split!r} has no images: {_place(section)}') from None
    if len(dataset) == 0:
        raise ValueError(f'the split {split!r} has no images: {_place(section)}')
    return dataset


def plain_sets(section: ConfigDict) -> list[ConfigDict]:
    """Return the sections that name files, behind wrappers and joined sets at any depth."""
    if 'dataset' in section:
        return plain_sets(section.dataset)
    if 'datasets' in section:
        return [one for part in section.datasets for one in plain_sets(part)]
    return [section]


def class_names_of(section: ConfigDict) -> list[str] | None:
    """Return the class names of a data set's section, which is built without its images.

    Raises:
        ValueError: If joined sets name different classes.
    """
    return names_in([_metainfo(one) for one in plain_sets(section)])


def _metainfo(section: ConfigDict) -> Any:
    kind = section.type if inspect.isclass(section.type) else DATASETS.get(section.type)
    if inspect.isclass(kind) and issubclass(kind, BaseDataset):
        section = dict(section, lazy_init=True)
    return DATASETS.build(section).metainfo


def _unwrapped(section: ConfigDict) -> ConfigDict:
    if 'dataset' in section:
        return _unwrapped(section.dataset)
    if 'datasets' in section:
        section.datasets = [_unwrapped(part) for part in section.datasets]
    return section


def _pipeline(config: Config) -> list[dict[str, Any]]:
    section = plain_sets(unaugmented_data_of(config))[0]
    steps = [step for step in section.pipeline if not _is(step, 'LoadAnnotations')]
    first = next((i for i, step in enumerate(steps) if _is(step, 'LoadImage')), None)
    if first is None:
        raise ValueError(
            f'the test pipeline loads no image: {[step.get("type") for step in steps]}'
        )
    return [
        *steps[: first + 1],
        dict(type='LoadAnnotations', with_bbox=True),
        *steps[first + 1 :],
    ]


def _is(step: ConfigDict, start: str) -> bool:
    return str(step.get('type', '')).rsplit('.', 1)[-1].startswith(start)


def _place(section: ConfigDict) -> str:
    files = [one.get('ann_file') for one in plain_sets(section)]
    return ', '.join(str(file) for file in files)
