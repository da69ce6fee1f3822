"""Stored teacher logits: what a teacher says of a fixed set of augmentations, kept in files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wkd_det.runtime.files import write_whole

_COMMAND = 'python tools/store_teacher.py CONFIG'
_TOLERANCE = 5e-3  # of the largest logit of an image: half precision and other kernels stay below


def augmentation_path(folder: str | os.PathLike, number: int) -> Path:
    """Return the file with the logits of one augmentation of every image."""
    return Path(folder) / f'augmentation_{number:03d}.safetensors'


def write_logits(
    folder: str | os.PathLike,
    number: int,
    logits: Tensor,
    places: np.ndarray,
    made_by: Mapping[str, Any],
) -> Path:
    """Write the logits of one augmentation of every image, whole or not at all.

    Args:
        folder: Folder of the files, one for each augmentation.
        number: Number of the augmentation.
        logits: Raw logits in the teacher's classes, float32 or float16, shape ``(N, C)``.
        places: Places of the images in the arrays of their split, rising, shape ``(N,)``.
        made_by: Notes that must be the same when the logits are used; anything JSON can hold.

    Raises:
        OSError: If the disk is full or the place cannot be written.
    """
    path = augmentation_path(folder, number)
    tensors = dict(
        logits=logits.contiguous(), places=torch.from_numpy(np.asarray(places, dtype=np.int64))
    )
    write_whole(path, save(tensors, {'wkd_det': json.dumps(made_by, sort_keys=True)}))
    return path


def read_made_by(path: Path) -> dict[str, Any]:
    """Return the notes in a file of :func:`write_logits`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is another kind of file.
    """
    return _read(path, ())[1]


class StoredLogits:
    """Logits of a teacher for the fixed augmentations of a data set.

    The files stay on disk and are mapped, so that processes share the memory.

    Args:
        folder: Folder of :func:`write_logits`.
        count: Number of augmentations that are used; the folder may hold more.
        places: Places of the data set's images in the arrays of their split, rising, ``(N,)``.
            The files may hold more images.
        made_by: Notes of the data set about itself; each file must have the same.

    Raises:
        FileNotFoundError: If there is no file for one of them, with the command that writes it.
        ValueError: If a file was made for other augmentations, or lacks an image.
    """

    def __init__(
        self, folder: str | os.PathLike, count: int, places: np.ndarray, made_by: Mapping[str, Any]
    ) -> None:
        self._logits: list[Tensor] = []
        for number in range(count):
            path = augmentation_path(folder, number)
            tensors, found = _read(path, ('logits', 'places'))
            for key, value in made_by.items():
                if found.get(key) != value:
                    raise ValueError(
                        f'{path} was stored for {key} {found.get(key)!r}, the data set has '
                        f'{value!r}: write it anew, {_COMMAND} --force'
                    )
            rows = _rows(tensors['places'].numpy(), places, path)
            if number and not np.array_equal(rows, self._rows):
                raise ValueError(f'{path} holds other images than {augmentation_path(folder, 0)}')
            self._rows = rows
            self._logits.append(tensors['logits'])

    def __call__(self, augmentations: Tensor, indices: np.ndarray) -> list[Tensor]:
        """Return the logits ``(C,)`` of images, each under one augmentation.

        Args:
            augmentations: Number of the augmentation of each, ``(N,)``.
            indices: Places of the images in the data set, ``(N,)``.
        """
        rows = self._rows[indices].tolist()
        return [self._logits[one][row] for one, row in zip(augmentations.tolist(), rows)]


def _rows(known: np.ndarray, places: np.ndarray, path: Path) -> np.ndarray:
    rows = np.searchsorted(known, places)
    lacking = known[rows.clip(max=len(known) - 1)] != places
    if lacking.any():
        raise ValueError(
            f'{path} lacks {int(lacking.sum())} of the {len(places)} images of the data set: write '
            f'it anew for all of them, {_COMMAND} --force'
        )
    return rows


def _read(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(
            f'no stored logits {path} (from {Path.cwd()}): write them by {_COMMAND}, with the '
            'config that trains on them'
        )
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, json.loads((file.metadata() or {})['wkd_det'])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} holds no stored logits: {error}') from None


def check_stored(stored: Tensor, live: Tensor) -> None:
    """Raise if stored logits are not those that the teacher gives now.

    Args:
        stored: Shape ``(N, C)``.
        live: Logits of the same images, float32.

    Raises:
        ValueError: If shapes differ, or values by more than half precision explains.
    """
    if stored.shape != live.shape:
        raise ValueError(
            f'the stored logits have {stored.shape[1]} classes, the teacher {live.shape[1]}: write '
            f'them anew, {_COMMAND} --force'
        )
    error = (stored.float() - live.float()).abs().amax(dim=1)
    largest = live.abs().amax(dim=1)
    wrong = ~(error <= _TOLERANCE * largest.clamp(min=1))  # NaN is wrong too
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f'the stored logits are not those of the teacher: image {index} of the batch differs '
            f'by {error[index]:.3g}, its largest logit is {largest[index]:.3g}. Teacher, images or '
            f'augmentations are others than those that were stored: write them anew, {_COMMAND} '
            '--force'
        )
