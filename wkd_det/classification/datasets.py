"""Data sets of labelled images: CIFAR-100, scanned digits, folders of images, ImageNet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR100, ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

from wkd_det.classification.arrays import SPLITS, ArrayFile, HeldImages
from wkd_det.classification.data import ImageDataset
from wkd_det.classification.subsets import stratified
from wkd_det.ops.checks import check_choice, check_integers

_CIFAR100_ARRAYS = 'cifar100.npz'
_IMAGENET_CLASSES = 1000
_LARGEST_PIXEL = 16  # of the digits as scikit-learn has them
_TEST_DIGITS = 60  # per class
_DEEP_MODES = ('I', 'F')  # of Pillow: integers of 16 or 32 bits, and floats


class CIFAR100Dataset(HeldImages):
    """CIFAR-100 as torchvision reads it, or from the arrays of ``cifar100.npz``.

    Args:
        data_root: Folder that holds ``cifar-100-python``, torchvision's download, or else
            ``cifar100.npz`` with the arrays that
            :class:`~wkd_det.classification.arrays.ArraysDataset` names. The two may store the
            images in another order, so that the same seed draws others.
        split: ``'train'`` (50000 images), ``'test'`` (10000), or ``'val'``, which ``val_per_class``
            draws from the training images.
        per_class: Images that are drawn from each class of the split; all by default.
        val_per_class: Images per class that are drawn from the training images, which then lack
            them, as ``split='val'``. Give both splits the same number and seed.
        seed: Seed of these draws. A smaller ``per_class`` is a part of a larger one.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`.

    Raises:
        FileNotFoundError: If the data are not there, with the command that downloads them.
        ValueError: If the split is unknown, the arrays are not those of CIFAR-100, or a class has
            too few images.
    """

    def __init__(
        self,
        data_root: str,
        *,
        split: str,
        per_class: int | None = None,
        val_per_class: int = 0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        check_choice(SPLITS, split=split)
        check_integers(0, val_per_class=val_per_class)
        if split == 'val' and not val_per_class:
            raise ValueError("CIFAR-100 has no split 'val' of its own: set val_per_class")
        images, labels, classes = _read_cifar100(data_root, test=split == 'test')
        super().__init__(
            images,
            labels,
            classes,
            split=split,
            per_class=per_class,
            held_out=val_per_class if split != 'test' else 0,
            seed=seed,
            **options,
        )


def _read_cifar100(data_root: str, *, test: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return images ``(N, 32, 32, 3)``, labels and class names from either kind of files."""
    try:
        data = CIFAR100(data_root, train=not test)
        return data.data, np.asarray(data.targets), data.classes
    except (RuntimeError, OSError):  # torchvision compares checksums
        path = Path(data_root) / _CIFAR100_ARRAYS
    if not path.is_file():
        folder = os.path.join(data_root, CIFAR100.base_folder)
        raise FileNotFoundError(
            f'CIFAR-100 is not (whole) in {folder}, and there is no {path}: download '
            f'{CIFAR100.url} and unpack it in {data_root}: mkdir -p {data_root} && curl -L '
            f'{CIFAR100.url} | tar xz -C {data_root}'
        )
    file = ArrayFile(path)
    split = 'test' if test else 'train'
    images, labels, classes = file.images(split), file.labels(split), file.classes()
    fits = images.shape[1:] == (32, 32, 3) and len(images) == len(labels) and len(classes) == 100
    if not fits or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f'{path} does not hold CIFAR-100: images must be 32 x 32 x 3 and labels lie in '
            f'[0, 100), got {split}_images of the shape {images.shape}, {len(labels)} labels from '
            f'{labels.min()} to {labels.max()} and {len(classes)} classes'
        )
    return images, labels, classes


class DigitsDataset(ImageDataset):
    """1797 scanned digits of 8 x 8 pixels, enlarged, in noise.

    Deterministic: the same arguments give the same images. No digit is in both splits, and a
    smaller ``per_class`` is a part of a larger one.

    Args:
        split: ``'train'`` or ``'test'`` (60 images per class).
        per_class: Training images per class; all by default (at least 114).
        size: Side of the enlarged image, in pixels (bilinear); at least 8.
        noise: Standard deviation of the Gaussian noise on the pixels, in units of their range.
        seed: Random seed of the noise, and of which digits are in which split.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If the split is unknown or a number is outside its range.
    """

    def __init__(
        self,
        *,
        split: str,
        per_class: int | None = None,
        size: int = 32,
        noise: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        check_choice(('train', 'test'), split=split)
        if size < 8 or noise < 0:
            raise ValueError(f'size must be at least 8, noise >= 0; got size={size}, noise={noise}')
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise ImportError(
                'DigitsDataset needs scikit-learn: pip install scikit-learn'
            ) from None
        super().__init__([str(digit) for digit in range(10)], **options)
        digits = load_digits()
        test = split == 'test'
        chosen = stratified(
            digits.target,
            10,
            seed=seed,
            name=lambda digit: f'digit {digit}',
            per_class=_TEST_DIGITS if test else per_class,
            skipped=0 if test else _TEST_DIGITS,
        )
        self._labels = [int(label) for label in digits.target[chosen]]
        self._images = [
            _enlarge(digits.images[index], size, noise, np.random.default_rng((seed, int(index))))
            for index in chosen
        ]

    def read(self, index: int) -> tuple[Image.Image, int]:
        return self._images[index], self._labels[index]

    def labels(self) -> Sequence[int]:
        return self._labels


def _enlarge(
    pixels: np.ndarray, size: int, noise: float, generator: np.random.Generator
) -> Image.Image:
    """Return a digit as a noisy RGB image of ``size`` x ``size`` pixels."""
    grey = Image.fromarray((pixels * (255 / _LARGEST_PIXEL)).astype(np.uint8))
    large = np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float64)
    noisy = large + generator.normal(0, 255 * noise, large.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert('RGB')


class ImageFolderDataset(ImageDataset):
    """Images under ``data_root/<class>/``, as torchvision's ``ImageFolder`` finds them.

    Files and folders whose name begins with a dot (``.ipynb_checkpoints``, ``._1.jpg``) are left
    out, unless ``classes`` names such a folder. Images are read as 8-bit RGB; those with more bits
    per value are refused when they are read.

    Args:
        data_root: Folder of the class folders.
        classes: Names of the class folders, in the order of the labels; sorted by default. Set
            them where a split may lack a class.
        **options: Options of :class:`~wkd_det.classification.data.ImageDataset`.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        ValueError: If a folder is none of ``classes``.
    """

    layout = 'one folder per class, with its images in it: <data_root>/<class>/<image>.jpg'

    def __init__(
        self, data_root: str, *, classes: Sequence[str] | None = None, **options: Any
    ) -> None:
        root = Path(data_root).expanduser()
        found = sorted(
            path.name
            for path in (root.iterdir() if root.is_dir() else ())
            if path.is_dir() and (not path.name.startswith('.') or path.name in (classes or ()))
        )
        if not found:
            raise FileNotFoundError(f'no images in {data_root} (from {Path.cwd()}): {self.layout}')
        classes = found if classes is None else list(classes)
        if unknown := [name for name in found if name not in classes]:
            raise ValueError(
                f'{data_root} has the folders {unknown[:8]}, which are none of classes'
            )
        try:
            self._data = _NamedFolders(str(root), {name: classes.index(name) for name in found})
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{error}; {self.layout}') from None
        super().__init__(classes, **options)

    def read(self, index: int) -> tuple[Image.Image, int]:
        return self._data[index]

    def name(self, index: int) -> str:
        return self._data.samples[index][0]

    def labels(self) -> Sequence[int]:
        return self._data.targets


class _NamedFolders(ImageFolder):
    """torchvision's ``ImageFolder`` with given labels, without hidden files."""

    def __init__(self, root: str, labels: Mapping[str, int]) -> None:
        self._labels = dict(labels)

        def is_shown_image(path: str) -> bool:
            _, *inside = Path(path).relative_to(root).parts  # the class folder may be hidden
            hidden = any(part.startswith('.') for part in inside)
            return not hidden and has_file_allowed_extension(path, IMG_EXTENSIONS)

        super().__init__(root, loader=read_rgb, is_valid_file=is_shown_image)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        return list(self._labels), self._labels


def read_rgb(path: str) -> Image.Image:
    """Return an image file as 8-bit RGB.

    Raises:
        ValueError: If it has more than 8 bits per value, which the conversion would cut off.
    """
    with Image.open(path) as image:
        if image.mode.startswith(_DEEP_MODES):
            raise ValueError(
                f'{path} has more than 8 bits per value (mode {image.mode!r} of Pillow), and as '
                '8-bit RGB it would lose all above 255: rescale the images to 8 bits, or read '
                'them by an ImageDataset of your own'
            )
        return image.convert('RGB')


class ImageNetDataset(ImageFolderDataset):
    """ILSVRC 2012, unpacked into one folder per synset.

    Args:
        data_root: Folder of ``train`` and ``val``.
        split: ``'train'`` or ``'val'``.
        **options: Options of :class:`ImageFolderDataset`.

    Raises:
        FileNotFoundError: If the data are not there, with what to download.
        ValueError: If the split is unknown, or there are not 1000 synsets and ``classes`` is not
            given.
    """

    layout = (
        'ImageNet (ILSVRC 2012) needs a log-in: download ILSVRC2012_img_train.tar and '
        'ILSVRC2012_img_val.tar from https://image-net.org/download-images, and unpack them into '
        '<data_root>/train/<synset>/*.JPEG and <data_root>/val/<synset>/*.JPEG, with the names of '
        'the synsets (n01440764, ...) as folders'
    )

    def __init__(self, data_root: str, *, split: str, **options: Any) -> None:
        check_choice(('train', 'val'), split=split)
        super().__init__(str(Path(data_root) / split), **options)
        found = len(self.metainfo['classes'])
        if options.get('classes') is None and found != _IMAGENET_CLASSES:
            raise ValueError(
                f'{Path(data_root) / split} has {found} folders, ImageNet has '
                f'{_IMAGENET_CLASSES} synsets; for a part of it give their names as classes'
            )
