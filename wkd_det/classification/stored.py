"""A stored teacher: its logits and maps for a fixed set of augmentations, kept in files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wkd_det.classification.targets import Targets
from wkd_det.runtime.files import write_whole

LOGITS = ''
"""Name of the network itself, whose output is the logits."""
_COMMAND = 'python tools/store_teacher.py CONFIG'
_TOLERANCE = 5e-3  # of an image's largest value: half precision and other kernels stay below


def stored_path(folder: str | os.PathLike, module: str, number: int) -> Path:
    """Return the file with a module's output for one augmentation of every image.

    >>> stored_path('a', 'pool:input', 7).name, stored_path('a', LOGITS, 0).name
    ('pool-input_007.safetensors', 'logits_000.safetensors')
    """
    return Path(folder) / f'{_title(module).replace(":", "-")}_{number:03d}.safetensors'


def _title(module: str) -> str:
    return module or 'logits'


def write_stored(
    path: Path, values: Tensor, places: np.ndarray, made_by: Mapping[str, Any]
) -> None:
    """Write a module's output for one augmentation of every image, whole or not at all.

    Args:
        path: Result of :func:`stored_path`.
        values: Float32 or float16, shape ``(N, ...)``; logits are those of the teacher's classes.
        places: Places of the images in the arrays of their split, rising, shape ``(N,)``.
        made_by: Notes that must be the same when they are used; anything JSON can hold.

    Raises:
        OSError: If the disk is full or the place cannot be written.
    """
    tensors = dict(
        values=values.contiguous(), places=torch.from_numpy(np.asarray(places, dtype=np.int64))
    )
    write_whole(path, save(tensors, {'wkd_det': json.dumps(made_by, sort_keys=True)}))


def read_made_by(path: Path) -> dict[str, Any]:
    """Return the notes in a file of :func:`write_stored`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is another kind of file.
    """
    return _read(path, ())[1]


class StoredTeacher:
    """Logits and maps of a teacher for the fixed augmentations of a data set.

    The files stay on disk and are mapped, so that processes share the memory.

    Args:
        folder: Folder of the files.
        modules: Names of the teacher's modules; :data:`LOGITS` among them for the logits.
        count: Number of augmentations that are used; the folder may hold more.
        places: Places of the data set's images in the arrays of their split, rising, ``(N,)``.
            The files may hold more images.
        made_by: Notes of the data set about itself; each file must have the same.

    Raises:
        FileNotFoundError: If there is no file for one of them, with the command that writes it.
        ValueError: If a file was made for other augmentations, or lacks an image.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        modules: Sequence[str],
        count: int,
        places: np.ndarray,
        made_by: Mapping[str, Any],
    ) -> None:
        self._values: dict[str, list[Tensor]] = {module: [] for module in modules}
        first: Path | None = None
        for module in modules:
            for number in range(count):
                path = stored_path(folder, module, number)
                tensors, found = _read(path, ('values', 'places'))
                for key, value in made_by.items():
                    if found.get(key) != value:
                        raise ValueError(
                            f'{path} was stored for {key} {found.get(key)!r}, the data set has '
                            f'{value!r}: write it anew, {_COMMAND} --force'
                        )
                rows = _rows(tensors['places'].numpy(), places, path)
                if first is None:
                    first, self._rows = path, rows
                elif not np.array_equal(rows, self._rows):
                    raise ValueError(f'{path} holds other images than {first}')
                self._values[module].append(tensors['values'])

    def __call__(self, augmentations: Tensor, indices: np.ndarray) -> list[dict[str, Tensor]]:
        """Return what is stored of each image, under one augmentation each, by module.

        Args:
            augmentations: Number of the augmentation of each, ``(N,)``.
            indices: Places of the images in the data set, ``(N,)``.
        """
        wanted = list(zip(augmentations.tolist(), self._rows[indices].tolist()))
        return [
            {module: values[number][row] for module, values in self._values.items()}
            for number, row in wanted
        ]


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
            f'no stored teacher {path} (from {Path.cwd()}): write it by {_COMMAND}, with the '
            'config that trains on it'
        )
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, json.loads((file.metadata() or {})['wkd_det'])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} holds no stored teacher: {error}') from None


class StoredUse:
    """Decides whether what is stored stands in for the teacher, and checks it in the first batch.

    It does where all that the terms read of the teacher is stored. If not, the teacher runs on
    every batch and gives all of it.

    Convention:
        - What is stored belongs to the images as the data set makes them. Where these are resized
          before the student sees them, logits and vectors stay those of the whole images, and the
          check runs the teacher on the whole ones.
        - A map has the extent of its images, so one of the whole images is refused there.
    """

    checked = 8
    """Images of the first batch for which the teacher is asked."""

    def __init__(self) -> None:
        self._is_first = True

    def __call__(
        self,
        targets: Targets,
        modules: Sequence[str],
        live: Callable[[Tensor], Mapping[str, Tensor]],
        images: Tensor,
    ) -> Mapping[str, Tensor] | None:
        """Return the stored outputs by module, or None if the teacher runs.

        Args:
            targets: Those of the batch, with ``stored`` and, if the images were resized, ``whole``.
            modules: Modules of the teacher that the terms read.
            live: Gives their outputs for normalised images.
            images: The batch, shape ``(N, C, H, W)``.

        Raises:
            ValueError: In the first batch, if the teacher gives others. If a map is read and the
                images were resized.
        """
        stored = targets.stored
        lacking = sorted(_title(name) for name in set(modules) - set(stored))
        if self._is_first:
            self._is_first = False
            if lacking:
                print_log(
                    f'the stored teacher is left aside: terms read {", ".join(lacking)}, which is '
                    'not stored, and the teacher runs on every batch',
                    logger='current',
                )
            else:
                whole = images if targets.whole is None else targets.whole
                found = live(whole[: self.checked])
                for name in modules:
                    check_stored(_title(name), stored[name][: self.checked], found[name])
        if lacking:
            return None
        if targets.whole is not None:
            _check_extents({name: stored[name] for name in modules}, images, targets.whole)
        return stored


def _check_extents(stored: Mapping[str, Tensor], images: Tensor, whole: Tensor) -> None:
    """Raise if one of the stored outputs of whole images is a map, of more than one place."""
    for name, value in stored.items():
        if value.shape[2:].numel() > 1:
            (height, width), (own_height, own_width) = whole.shape[-2:], images.shape[-2:]
            raise ValueError(
                f'the stored output {_title(name)!r} is a map of images of {height} x {width} '
                f'pixels, and ImageSizeHook makes those of the batch {own_height} x {own_width}: '
                'leave out the hook, or take the map out of stored_maps, and the teacher runs on '
                'the resized images'
            )


def check_stored(title: str, stored: Tensor, live: Tensor) -> None:
    """Raise if stored outputs are not those that the teacher gives now.

    Args:
        title: Name of the module, for the message.
        stored: Shape ``(N, ...)``.
        live: Outputs for the same images, float32.

    Raises:
        ValueError: If shapes differ, or values by more than half precision explains.
    """
    if stored.shape != live.shape:
        raise ValueError(
            f'the stored output {title!r} has the shape {tuple(stored.shape)}, the teacher gives '
            f'{tuple(live.shape)}: write it anew, {_COMMAND} --force'
        )
    error = (stored.float() - live.float()).abs().flatten(1).amax(dim=1)
    largest = live.abs().flatten(1).amax(dim=1)
    wrong = ~(error <= _TOLERANCE * largest.clamp(min=1))  # NaN is wrong too
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f'the stored output {title!r} is not that of the teacher: image {index} of the batch '
            f'differs by {error[index]:.3g}, its largest value is {largest[index]:.3g}. Teacher, '
            'images or augmentations are others than those that were stored: write it anew, '
            f'{_COMMAND} --force'
        )
