"""Images that lie in arrays: a data set that reads an ``.npz`` file as MedMNIST names its parts."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wkd_det.classification.augmentation import BatchAugmentation
from wkd_det.classification.data import ImageDataset
from wkd_det.classification.stored import LOGITS, StoredTeacher
from wkd_det.classification.subsets import stratified
from wkd_det.classification.targets import UNLABELLED, Sample
from wkd_det.ops.checks import check_booleans, check_choice, check_integers, listed

SPLITS = ('train', 'val', 'test')
_LAYOUT = (
    'an .npz file with arrays train_images (N, H, W, 3) or (N, H, W), 8 bits, train_labels (N,), '
    'and likewise val_* or test_*, as np.savez writes it'
)


class HeldImages(ImageDataset):
    """Images and labels in arrays, or a random part of them.

    The order of the arrays stays. Images of a class are not always exchangeable (they may lie
    sorted by their source), so parts are drawn at random and stratified by class.

    Args:
        images: 8 bits, shape ``(N, H, W, 3)``, or ``(N, H, W)`` for grey images.
        labels: Integers, shape ``(N,)``; -1 for none.
        classes: Names of the classes.
        per_class: Images that are drawn from each class; all by default. Those without a label
            all stay.
        held_out: Images per class that are drawn before and left out of ``split='train'``, and of
            which ``split='val'`` consists.
        split: ``'train'``, ``'val'`` or ``'test'``.
        seed: Seed of the draw, >= 0.
        batched: Transform a whole batch at a time, which costs a tenth. Equal in distribution,
            but the same seed of the run gives other crops. For the transforms in
            :data:`~wkd_det.classification.augmentation.BATCHED`.
        augmentations: Number of fixed augmentations of each image, of which one is drawn whenever
            the image is; without it the transforms draw anew. Needs ``batched``.
        augmentation_seed: Seed of the fixed augmentations, >= 0.
        stored_teacher: Folder with the logits of a teacher for these augmentations, which
            ``tools/store_teacher.py`` writes; batches carry them. Needs ``augmentations``.
        stored_maps: Modules of the teacher whose output is in that folder too and is carried.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`.

    Raises:
        FileNotFoundError: If there is no stored teacher.
        ValueError: If a class has too few images, a number is no integer in its range, the
            transforms do not go with ``batched``, an option lacks the one that it needs, or the
            teacher was stored for other augmentations or images.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        *,
        split: str,
        per_class: int | None = None,
        held_out: int = 0,
        seed: int = 0,
        batched: bool = False,
        augmentations: int | None = None,
        augmentation_seed: int = 0,
        stored_teacher: str | None = None,
        stored_maps: Sequence[str] = (),
        **options: Any,
    ) -> None:
        check_booleans(batched=batched)
        super().__init__(classes, **options)
        check_integers(0, val_per_class=held_out, seed=seed, augmentation_seed=augmentation_seed)
        for name, value, other, needed in (
            ('augmentations', augmentations, 'batched=True', batched),
            ('stored_teacher', stored_teacher, 'augmentations', augmentations),
            ('stored_maps', stored_maps or None, 'stored_teacher', stored_teacher),
        ):
            if value is not None and not needed:
                raise ValueError(f'{name} needs {other}')
        self._augmentation = self._batch_augmentation(images.shape[1:3]) if batched else None
        self.places = np.arange(len(images))
        """Places of the images in the arrays of their split, rising."""
        self._images, self._labels = images, labels.tolist()
        self._picked = False
        if per_class is not None or held_out:
            self._take(_drawn(labels, classes, split, per_class, held_out, seed), labels)
        self.augmentations = augmentations
        """Number of fixed augmentations; None where each is drawn anew."""
        self.made_by = dict(
            seed=augmentation_seed, transforms=json.loads(json.dumps(options.get('transforms', ())))
        )
        """Seed and transforms that a stored teacher must be made for."""
        self._tables: Tensor | None = None
        if augmentations is not None:
            check_integers(augmentations=augmentations)
            self._tables = torch.stack(
                [
                    self._augmentation.table(len(images), number, augmentation_seed)
                    for number in range(augmentations)
                ]
            )[:, self.places]
        self._stored: StoredTeacher | None = None
        if stored_teacher is not None:
            self._stored = StoredTeacher(
                stored_teacher, [LOGITS, *stored_maps], augmentations, self.places, self.made_by
            )

    def _take(self, places: np.ndarray, labels: np.ndarray) -> None:
        """Keep some of the images."""
        self.places = places
        self._labels = labels[places].tolist()
        self._picked = isinstance(self._images, np.memmap)
        if not self._picked:
            self._images = self._images[places]

    def __getitem__(self, index: int) -> tuple[Tensor, int] | Sample | None:
        if self._augmentation is None:
            return super().__getitem__(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int] | Sample | None]:
        """Return the samples of a batch, which loaders of torch ask for at once."""
        if self._augmentation is None:
            return [self[index] for index in indices]
        indices = np.asarray(indices)
        if self._tables is None:
            images = self._augmented(indices, self._augmentation.draw(len(indices)))
        else:
            chosen = torch.randint(self.augmentations, (len(indices),))
            images = self._augmented(indices, self._tables[chosen, indices])
        labels = [self._labels[index] for index in indices]
        if not self.with_index and self._stored is None:
            return list(zip(images, labels))
        nothing = [None] * len(indices)
        columns = [
            images,
            labels,
            indices.tolist() if self.with_index else nothing,
            nothing,
            nothing if self._stored is None else self._stored(chosen, indices),
        ]
        return [Sample(*values) for values in zip(*columns)]

    def augmented(self, indices: Sequence[int], number: int) -> Tensor:
        """Return images under one of the fixed augmentations, bytes, shape ``(N, C, H, W)``.

        Args:
            indices: Places of the images in this data set.
            number: Number of the augmentation.

        Raises:
            ValueError: If the data set has no such augmentation.
        """
        if self._tables is None or not 0 <= number < self.augmentations:
            raise ValueError(
                f'the data set has {self.augmentations or 0} fixed augmentations, got {number}'
            )
        indices = np.asarray(indices)
        return self._augmented(indices, self._tables[number, indices])

    def _augmented(self, indices: np.ndarray, drawn: Tensor) -> Tensor:
        places = self.places[indices] if self._picked else indices
        images = torch.from_numpy(np.array(self._images[places]))
        images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
        return self._augmentation(images, drawn)

    def _batch_augmentation(self, size: tuple[int, int]) -> BatchAugmentation:
        if self._strong_transform is not None:
            raise ValueError('batched=True gives one view: leave strong_transforms out')
        return BatchAugmentation(self._transform.transforms, size)

    def read(self, index: int) -> tuple[Image.Image, int]:
        place = self.places[index] if self._picked else index
        return Image.fromarray(np.array(self._images[place])), self._labels[index]

    def labels(self) -> Sequence[int]:
        return self._labels


def _drawn(
    labels: np.ndarray,
    classes: Sequence[str],
    split: str,
    per_class: int | None,
    held_out: int,
    seed: int,
) -> np.ndarray:
    """Return the places of the images of a split, rising."""

    def draw(**arguments: Any) -> np.ndarray:
        return stratified(
            labels,
            len(classes),
            seed=seed,
            name=lambda label: f'class {classes[label]!r}',
            **arguments,
        )

    if held_out:
        first = draw(per_class=held_out, option='val_per_class')
    if split == 'val' and held_out:
        drawn = first if per_class is None else draw(per_class=min(per_class, held_out))
    else:
        unlabelled = np.flatnonzero(labels == UNLABELLED)
        drawn = np.concatenate([draw(per_class=per_class, skipped=held_out), unlabelled])
    if not len(drawn):
        raise ValueError(f'val_per_class={held_out} leaves no image in the split {split!r}')
    return np.sort(drawn)


class ArraysDataset(HeldImages):
    """Images in the arrays of an ``.npz`` file, named as in MedMNIST.

    Grey images stay grey; the transform ``dict(type='Grayscale', num_output_channels=3)`` gives
    them three channels.

    Args:
        path: The file, with the arrays ``train_images``, ``train_labels``, ``val_images`` and so
            on. Images are unsigned integers of 8 bits, shape ``(N, H, W, 3)`` or ``(N, H, W)``;
            labels integers, shape ``(N,)`` or ``(N, 1)``. An array ``classes`` may hold names.
        split: ``'train'``, ``'val'`` or ``'test'``.
        classes: Names of the classes in the order of the labels. By default those in the file, or
            the numbers from 0 to the largest label in any split.
        per_class: Images that are drawn from each class of the split; all by default.
        val_per_class: For files without ``val_images``: images of each class that are drawn from
            the training split, which then lacks them, as ``split='val'``. Give both splits the
            same number and seed.
        seed: Seed of these draws. A smaller ``per_class`` is a part of a larger one.
        allow_unlabelled: Let labels be -1, for images without one.
        memory_map: Leave the images in the file and read each when it is needed; only for
            files that are not compressed. By default they are held in memory.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an array is missing, has another shape or type, or a label lies outside the
            classes; with file and array. If the split is unknown, a class has too few images, or
            a compressed file is to be mapped.

    Example:
        ``dict(type='ArraysDataset', path='data/pathmnist.npz', split='train', per_class=100)``
    """

    def __init__(
        self,
        path: str,
        *,
        split: str,
        classes: Sequence[str] | None = None,
        per_class: int | None = None,
        val_per_class: int = 0,
        seed: int = 0,
        allow_unlabelled: bool = False,
        memory_map: bool = False,
        **options: Any,
    ) -> None:
        check_booleans(allow_unlabelled=allow_unlabelled, memory_map=memory_map)
        check_choice(SPLITS, split=split)
        check_integers(0, val_per_class=val_per_class)
        file = ArrayFile(path)
        if val_per_class and 'val_images' in file.names:
            raise ValueError(f"{path} has a split 'val' of its own: leave val_per_class at 0")
        stored = 'train' if split == 'val' and val_per_class else split
        labels = file.labels(stored)
        names = file.classes() if classes is None else [str(name) for name in classes]
        _check_labels(f'{path}: {stored}_labels', labels, len(names), allow_unlabelled)
        images = file.images(stored, mapped=memory_map)
        if len(images) != len(labels):
            raise ValueError(
                f'{path}: {stored}_images and {stored}_labels must have the same length, got '
                f'{len(images)} and {len(labels)}'
            )
        super().__init__(
            images,
            labels,
            names,
            split=split,
            per_class=per_class,
            held_out=val_per_class if split != 'test' else 0,
            seed=seed,
            **options,
        )


class ArrayFile:
    """The arrays of an ``.npz`` file with images and labels, checked when they are read.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise FileNotFoundError(f'no file {path} (from {Path.cwd()}): it should be {_LAYOUT}')
        if not zipfile.is_zipfile(self.path):
            raise ValueError(f'{path} is no .npz file: it should be {_LAYOUT}')
        with np.load(self.path) as arrays:
            self.names = tuple(arrays.files)

    def images(self, split: str, *, mapped: bool = False) -> np.ndarray:
        """Return the images of a split, ``(N, H, W)`` or ``(N, H, W, 3)``.

        Raises:
            ValueError: With file and array.
        """
        name = f'{split}_images'
        images = self._mapped(name) if mapped else self._read(name)
        colours = images.ndim == 4 and images.shape[-1] == 3
        if images.dtype != np.uint8 or not (images.ndim == 3 or colours) or 0 in images.shape:
            raise ValueError(
                f'{self.path}: {name} must be uint8 of the shape (N, H, W) or (N, H, W, 3), got '
                f'{images.dtype} of the shape {images.shape}'
            )
        return images

    def labels(self, split: str) -> np.ndarray:
        """Return the labels of a split, int64 of the shape ``(N,)``.

        Raises:
            ValueError: With file and array.
        """
        name = f'{split}_labels'
        labels = self._read(name)
        column = labels.ndim == 2 and labels.shape[1] == 1
        if not np.issubdtype(labels.dtype, np.integer) or not (labels.ndim == 1 or column):
            raise ValueError(
                f'{self.path}: {name} must be integers of the shape (N,) or (N, 1), got '
                f'{labels.dtype} of the shape {labels.shape}'
            )
        return labels.reshape(-1).astype(np.int64)

    def classes(self) -> list[str]:
        """Return the names of the classes; numbers where the file has no array ``classes``.

        Raises:
            ValueError: If that array holds no list of names.
        """
        if 'classes' not in self.names:
            splits = [split for split in SPLITS if f'{split}_labels' in self.names]
            largest = max((int(self.labels(split).max(initial=-1)) for split in splits), default=-1)
            return [str(label) for label in range(largest + 1)]
        classes = self._read('classes')
        if classes.ndim != 1 or classes.dtype.kind not in 'US':
            raise ValueError(
                f'{self.path}: classes must be a list of names, got {classes.dtype} of the shape '
                f'{classes.shape}'
            )
        return (np.char.decode(classes) if classes.dtype.kind == 'S' else classes).tolist()

    def _read(self, name: str) -> np.ndarray:
        self._check_has(name)
        with np.load(self.path) as arrays:
            try:
                return arrays[name]
            except ValueError:  # pickles are not read: they run code
                raise ValueError(
                    f'{self.path}: {name} holds Python objects, not numbers or names'
                ) from None

    def _check_has(self, name: str) -> None:
        if name not in self.names:
            raise ValueError(
                f'{self.path} has no array {name!r}; it has {listed(self.names)}. It should be '
                f'{_LAYOUT}'
            )

    def _mapped(self, name: str) -> np.ndarray:
        """Return an array that stays in the file.

        Raises:
            ValueError: If it is compressed.
        """
        self._check_has(name)
        with zipfile.ZipFile(self.path) as archive:
            member = archive.getinfo(f'{name}.npy')
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f'{self.path} is compressed, so that {name} cannot be mapped: write it by np.savez '
                'and not np.savez_compressed, or leave memory_map at False'
            )
        with self.path.open('rb') as file:
            # The local header repeats the name; its extra field may have another length than in
            # the directory of the archive, which zipfile has read.
            file.seek(member.header_offset + 26)
            lengths = struct.unpack('<HH', file.read(4))
            file.seek(sum(lengths), 1)
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(file)
            order = 'F' if fortran else 'C'
            return np.memmap(self.path, dtype, 'r', offset=file.tell(), shape=shape, order=order)


def _check_labels(owner: str, labels: np.ndarray, num_classes: int, allow_unlabelled: bool) -> None:
    wrong = (labels < 0) | (labels >= num_classes)
    if allow_unlabelled:
        wrong &= labels != UNLABELLED
    if wrong.any():
        place = int(wrong.argmax())
        hint = '; allow_unlabelled=True lets images lack a label' if labels[place] == -1 else ''
        raise ValueError(
            f'{owner} must lie in [0, {num_classes}), the number of classes, got {labels[place]} '
            f'(image {place}){hint}'
        )
