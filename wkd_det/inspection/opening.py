"""A trained network from its config and checkpoint, to be measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn
from torch.utils.data import Dataset

from wkd_det.distillation.teacher import TeacherSource
from wkd_det.runtime.state import weights_hash


def trained_network(
    config: Config, checkpoint: str, class_names: Sequence[str]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a config and load its weights, strictly.

    Args:
        config: With the section ``model``.
        checkpoint: As in a ``teacher`` section.
        class_names: Of the data.

    Returns:
        The network, frozen, in eval mode, on the device of this process; and what it was loaded
        from, for metadata.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If the weights do not fit, or the checkpoint names other classes than the
            data.
    """
    teacher = TeacherSource(config=dict(model=config.model), checkpoint=checkpoint).load()
    known = teacher.class_names
    if known is not None and list(known) != list(class_names):
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
    if config.model.get('teacher') or config.model.get('distill'):
        raise ValueError(
            f'{config.model.type} is a student with its teacher: give the config and the '
            'checkpoint of the teacher (model.teacher.config)'
        )


SPLITS = ('train', 'val', 'test')


def annotated_dataset(config: Config, split: str) -> Dataset:
    """The images of a split with their ground truth, without augmentation.

    Images are loaded and resized by the pipeline of the test data. Boxes are read before the
    resize, so that they go with it: the test pipelines of MMDetection read them after it, since
    there they only serve evaluation. Wrappers that repeat or mix images are taken off.

    Args:
        config: With ``<split>_dataloader`` and the pipeline of ``test_dataloader`` or
            ``val_dataloader``.
        split: One of ``SPLITS``.

    Raises:
        ValueError: If the split is not there or has no images.
    """
    there = [name for name in SPLITS if config.get(f'{name}_dataloader')]
    if split not in there:
        raise ValueError(f'split must be one of {there}, which the config has; got {split!r}')
    section = _innermost(copy.deepcopy(config[f'{split}_dataloader'].dataset))
    pipeline = _pipeline(config)
    for one in section.get('datasets', [section]):
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


def _innermost(section: Any) -> Any:
    while 'dataset' in section:
        section = section.dataset
    return section


def _pipeline(config: Config) -> list[dict[str, Any]]:
    for name in ('test_dataloader', 'val_dataloader'):
        if config.get(name):
            section = _innermost(config[name].dataset)
            section = section.get('datasets', [section])[0]
            break
    else:
        raise ValueError('the config has no test_dataloader or val_dataloader to read images by')
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


def _is(step: Any, start: str) -> bool:
    return str(step.get('type', '')).rsplit('.', 1)[-1].startswith(start)


def _place(section: Any) -> str:
    files = [one.get('ann_file') for one in section.get('datasets', [section])]
    return ', '.join(str(file) for file in files)
