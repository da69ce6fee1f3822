"""Storing of teacher logits: one pass of the teacher over each fixed augmentation of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset

from wkd_det.classification.arrays import HeldImages
from wkd_det.classification.distilled import DistilledClassifier
from wkd_det.classification.stored import augmentation_path, read_made_by, write_logits
from wkd_det.ops.checks import check_integers
from wkd_det.runtime.state import weights_hash


def store_logits(
    model: DistilledClassifier,
    dataset: Dataset,
    folder: str | os.PathLike,
    *,
    half: bool = False,
    batch_size: int = 256,
    force: bool = False,
    say: Callable[[str], Any] = print,
) -> None:
    """Write the logits of a model's teacher for all fixed augmentations of a data set.

    Files that are there and belong to the same teacher and the same augmentations are kept, so
    that an interrupted call goes on, and more augmentations are added to those of before.

    Args:
        model: The distilled classifier, on the device where the teacher is to run.
        dataset: Training data with fixed ``augmentations``.
        folder: Folder of the files.
        half: Write float16, half the size; each value is off by up to 1/2048 of itself. Otherwise
            float32, as the teacher gives them.
        batch_size: Images at once.
        force: Replace files of another teacher or other augmentations.
        say: Called with a line for each file.

    Raises:
        TypeError: If the data set holds no images in arrays.
        ValueError: If it has no fixed augmentations, the model no teacher, or a file is of another
            one.
        OSError: If the disk is full or the folder cannot be written.
    """
    check_integers(batch_size=batch_size)
    if not isinstance(dataset, HeldImages):
        raise TypeError(
            'stored logits need a data set of images in arrays (CIFAR100Dataset, ArraysDataset), '
            f'got {type(dataset).__name__}'
        )
    if dataset.augmentations is None:
        raise ValueError(
            'stored logits need fixed augmentations: set augmentations in the training data set'
        )
    model.teacher_logits(_normalised(model, dataset, 0, range(1)))  # loads it, or says what lacks
    made_by = dict(
        dataset.made_by,
        teacher=weights_hash(model.distiller.teacher.module),
        type='float16' if half else 'float32',
    )
    for number in range(dataset.augmentations):
        path = augmentation_path(folder, number)
        if path.is_file() and not force:
            _check_same(read_made_by(path), made_by, path)
            say(f'{path} is there')
            continue
        parts = [
            model.teacher_logits(
                _normalised(
                    model, dataset, number, range(start, min(start + batch_size, len(dataset)))
                )
            ).cpu()
            for start in range(0, len(dataset), batch_size)
        ]
        logits = torch.cat([part.half() if half else part for part in parts])
        write_logits(folder, number, logits, dataset.places, made_by)
        say(f'wrote {path}: {logits.shape[0]} images, {logits.shape[1]} classes')


def _normalised(
    model: DistilledClassifier, dataset: HeldImages, number: int, indices: range
) -> torch.Tensor:
    images = dataset.augmented(indices, number)
    labels = torch.zeros(len(images), dtype=torch.int64)  # nobody reads them
    return model.data_preprocessor([images, labels])[0]


def _check_same(found: dict[str, Any], made_by: dict[str, Any], path: os.PathLike) -> None:
    for key, value in made_by.items():
        if found.get(key) != value:
            raise ValueError(
                f'{path} was stored for {key} {found.get(key)!r}, and not {value!r}: --force '
                'replaces it'
            )
