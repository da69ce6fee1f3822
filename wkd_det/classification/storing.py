"""Storing of a teacher: one pass over each fixed augmentation of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wkd_det.classification.arrays import HeldImages
from wkd_det.classification.distilled import DistilledClassifier
from wkd_det.classification.stored import LOGITS, read_made_by, stored_path, write_stored
from wkd_det.ops.checks import check_integers
from wkd_det.runtime.state import weights_hash


def store_teacher(
    model: DistilledClassifier,
    dataset: Dataset,
    folder: str | os.PathLike,
    *,
    maps: Sequence[str] = (),
    half: bool = False,
    batch_size: int = 256,
    force: bool = False,
    teacher: str | None = None,
    say: Callable[[str], Any] = print,
) -> None:
    """Write logits and maps of a model's teacher for all fixed augmentations of a data set.

    Files that are there and belong to the same teacher and the same augmentations are kept, so
    that an interrupted call goes on, and more augmentations or maps are added to those of before.

    Args:
        model: The distilled classifier, on the device where the teacher is to run.
        dataset: Training data with fixed ``augmentations``.
        folder: Folder of the files.
        maps: Modules of the teacher's network whose output is stored with the logits.
        half: Write float16, half the size; each value is off by up to 1/2048 of itself. Otherwise
            float32, as the teacher gives them.
        batch_size: Images at once.
        force: Replace files of another teacher or other augmentations.
        teacher: Name of the teacher, where the model has several; its ``stored_of`` by default.
        say: Called with a line for each file.

    Raises:
        KeyError: If the teacher has no such module, or there is none of that name.
        TypeError: If the data set holds no images in arrays.
        ValueError: If it has no fixed augmentations, the model no teacher or several of which none
            is named, or a file is of another one.
        OSError: If the disk is full or the folder cannot be written.
    """
    check_integers(batch_size=batch_size)
    if not isinstance(dataset, HeldImages):
        raise TypeError(
            'a stored teacher needs a data set of images in arrays (CIFAR100Dataset, '
            f'ArraysDataset), got {type(dataset).__name__}'
        )
    if dataset.augmentations is None:
        raise ValueError(
            'a stored teacher needs fixed augmentations: set augmentations in the training data set'
        )
    modules = [LOGITS, *maps]
    _outputs(model, dataset, 0, range(1), modules, teacher)  # loads it, or says what lacks
    network = model.distiller.teachers[model.teacher_named(teacher)].module
    made_by = dict(
        dataset.made_by,
        teacher=weights_hash(network),
        type='float16' if half else 'float32',
    )
    for number in range(dataset.augmentations):
        paths = {module: stored_path(folder, module, number) for module in modules}
        left = [name for name in modules if force or not _is_there(paths[name], made_by, say)]
        if not left:
            continue
        parts: dict[str, list[Tensor]] = {module: [] for module in left}
        for start in range(0, len(dataset), batch_size):
            indices = range(start, min(start + batch_size, len(dataset)))
            for name, value in _outputs(model, dataset, number, indices, left, teacher).items():
                parts[name].append((value.half() if half else value).cpu())
        for name in left:
            values = torch.cat(parts.pop(name))
            write_stored(paths[name], values, dataset.places, made_by)
            shape = ' x '.join(map(str, values.shape[1:]))
            say(f'wrote {paths[name]}: {len(values)} images, {shape} values each')


def _outputs(
    model: DistilledClassifier,
    dataset: HeldImages,
    number: int,
    indices: range,
    modules: Sequence[str],
    teacher: str | None,
) -> dict[str, Tensor]:
    images = dataset.augmented(indices, number)
    labels = torch.zeros(len(images), dtype=torch.int64)  # nobody reads them
    return model.teacher_outputs(model.data_preprocessor([images, labels])[0], modules, teacher)


def _is_there(path: Path, made_by: dict[str, Any], say: Callable[[str], Any]) -> bool:
    if not path.is_file():
        return False
    found = read_made_by(path)
    for key, value in made_by.items():
        if found.get(key) != value:
            raise ValueError(
                f'{path} was stored for {key} {found.get(key)!r}, and not {value!r}: --force '
                'replaces it'
            )
    say(f'{path} is there')
    return True
