"""Data of classifiers on their way: from an image on disk to the normalised batch of a network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import torch
import torchvision.transforms as transforms
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import Registry
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from wkd_det.distillation.images import check_pixels
from wkd_det.runtime.config import build_strict

_BAD_IMAGE = ('raise', 'skip')

TORCHVISION_TRANSFORMS = Registry('torchvision transform')
for _name, _value in vars(transforms).items():
    if isinstance(_value, type) and not issubclass(_value, Enum):
        TORCHVISION_TRANSFORMS.register_module(_name, module=_value)


class ImageDataset(Dataset):
    """Base of the data sets: transforms, class names, and images that do not decode.

    A subclass defines :meth:`read` and :meth:`labels`.

    Args:
        classes: Names of the classes in order; checkpoints carry them.
        transforms: Transforms of torchvision; see :func:`build_transform`.
        on_bad_image: ``'raise'`` stops at an image that does not decode, with its name;
            ``'skip'`` leaves it out of its batch, with a warning.

    Raises:
        ValueError: If ``on_bad_image`` is neither.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        transforms: Sequence[Mapping[str, Any]] = (),
        on_bad_image: str = 'raise',
    ) -> None:
        if on_bad_image not in _BAD_IMAGE:
            raise ValueError(f'on_bad_image must be one of {_BAD_IMAGE}, got {on_bad_image!r}')
        self.metainfo = dict(classes=tuple(classes))
        self.on_bad_image = on_bad_image
        self._transform = build_transform(transforms)

    def read(self, index: int) -> tuple[Image.Image, int]:
        """Return image and label.

        Raises:
            OSError, SyntaxError: If the image does not decode.
        """
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Return the name of an image for messages, e.g. its path."""
        return f'image {index}'

    def labels(self) -> Sequence[int]:
        """Return the label of each image, without reading the images."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels())

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        """Return an image as bytes ``(3, H, W)`` and its label; None if it is to be skipped.

        Raises:
            ValueError: If the image does not decode.
        """
        try:
            image, label = self.read(index)
        except (OSError, SyntaxError) as error:
            message = f'{self.name(index)} does not decode: {error}'
            if self.on_bad_image == 'raise':
                raise ValueError(f"{message}; on_bad_image='skip' leaves such images out") from None
            print_log(f'skipped, {message}', logger='current', level=logging.WARNING)
            return None
        return self._transform(image), label


def build_transform(configs: Sequence[Mapping[str, Any]]) -> Callable[[Image.Image], Tensor]:
    """Return a chain of torchvision's transforms that ends in bytes, shape ``(3, H, W)``.

    Args:
        configs: Each has a ``type``, a class of ``torchvision.transforms``, and its arguments.
            An ``interpolation`` is given by name, e.g. ``'bicubic'``.

    Raises:
        TypeError: If a section is no dict or lacks an argument.
        KeyError: If a type or an argument is unknown; lists the valid ones.
        ValueError: If an interpolation is unknown.
    """
    steps = []
    for index, config in enumerate(configs):
        if isinstance(config, Mapping) and isinstance(config.get('interpolation'), str):
            mode = transforms.InterpolationMode(config['interpolation'])
            config = dict(config, interpolation=mode)
        section = f'transforms[{index}]'
        names = TORCHVISION_TRANSFORMS.module_dict
        steps.append(build_strict(section, config, names, TORCHVISION_TRANSFORMS.get))
    return transforms.Compose([*steps, transforms.PILToTensor()])


def collate_images(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Return images ``(N, 3, H, W)`` and labels ``(N,)``; skipped images are left out.

    Raises:
        ValueError: If no image is left.
    """
    left = [sample for sample in samples if sample is not None]
    if not left:
        raise ValueError(f'none of the {len(samples)} images of a batch decodes')
    return default_collate(left)


class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises it there.

    Images travel as bytes, a quarter of what floats take. Any number of channels and any type of
    pixels will do: grey or multispectral images, 16 bits.

    Args:
        mean: Mean per channel, in units of the pixels, 0 to 255 for bytes; in the order RGB of the
            images. One value serves all channels.
        std: Standard deviation per channel, in the same units.
        num_classes: Labels must be less than this; None for no check.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length or a ``std`` is not positive.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
        num_classes: int | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        if len(mean) != len(std) or not min(std) > 0:
            raise ValueError(
                f'mean and std need one value per channel, std positive, got mean={mean}, std={std}'
            )
        self.num_classes = num_classes
        self.scale = tuple(map(float, mean)), tuple(map(float, std))
        # Not saved: a checkpoint has the keys of the network.
        self.register_buffer('mean', torch.tensor(self.scale[0]).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(self.scale[1]).view(-1, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> list[Tensor]:
        """Return images ``(N, C, H, W)``, normalised, and labels ``(N,)``.

        Raises:
            TypeError: If images or labels are no tensor.
            ValueError: If the labels are no integers, one lies outside ``[0, num_classes)``, or the
                images have another number of channels than ``mean``.
        """
        images, labels = data
        self._check_images(images)
        self._check_labels(labels)  # before the move: on a GPU it would wait for the device
        images, labels = self.cast_data([images, labels])
        return [(images.float() - self.mean) / self.std, labels]

    def _check_images(self, images: Tensor) -> None:
        _check_tensor('images', images)
        channels = len(self.mean)
        if images.dim() != 4 or channels not in (1, images.shape[1]):
            raise ValueError(
                f'images must have the shape (N, {"C" if channels == 1 else channels}, H, W), got '
                f'{tuple(images.shape)}: mean and std of the data_preprocessor need one value per '
                'channel'
            )

    def _check_labels(self, labels: Tensor) -> None:
        _check_tensor('labels', labels)
        if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
            raise ValueError(
                f'labels must be integers of the shape (N,), got {labels.dtype} of the shape '
                f'{tuple(labels.shape)}'
            )
        if self.num_classes is None:
            return
        wrong = (labels < 0) | (labels >= self.num_classes)
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise ValueError(
                f'labels must lie in [0, {self.num_classes}), the classes of the network, got '
                f'{int(labels[index])} (image {index} of the batch)'
            )


def _check_tensor(name: str, value: Any) -> None:
    """Raise if a part of the batch is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got a {type(value).__name__}: set collate_fn='
            "dict(type='collate_images') in the dataloader, since mmengine's default makes lists"
        )


class TeacherImages:
    """Makes the teacher's batch of the student's: its normalisation, its number of channels.

    Args:
        student: Preprocessor that makes the batches.
        teacher: Preprocessor of the teacher.
        repeats: Give the teacher, a network of 3 channels, each grey image three times.
    """

    def __init__(
        self, student: ImagePreprocessor, teacher: ImagePreprocessor, *, repeats: bool = False
    ) -> None:
        self._student = student
        self._teacher = teacher
        self._repeats = repeats
        self._same_pixels = student is teacher or student.scale == teacher.scale
        self._checked = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return the batch as the teacher's preprocessor would have normalised it.

        Args:
            images: Batch as the student's preprocessor normalised it, shape ``(N, C, H, W)``;
                returned as it is if nothing differs.

        Raises:
            ValueError: In the first batch, if the images were normalised before the student's
                preprocessor, too.
        """
        if not self._same_pixels:
            student, teacher = self._student, self._teacher
            pixels = images * student.std + student.mean
            if not self._checked:
                check_pixels(pixels, teacher.std)
                self._checked = True  # once is enough, and waits for the device
            images = (pixels - teacher.mean) / teacher.std
        if self._repeats and images.shape[1] == 1:
            images = images.repeat(1, 3, 1, 1)
        return images
