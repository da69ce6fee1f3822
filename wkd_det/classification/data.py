"""From a batch of the data loader to the input of a network."""

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

from wkd_det.runtime.config import build_strict


class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises it there.

    Images travel as bytes, a quarter of what floats take.

    Args:
        mean: Of each channel, in units of the pixels, 0 to 255; in the order of the images, RGB.
        std: Of each channel.
        num_classes: Labels must be less; no check where it is not known.

    Raises:
        ValueError: If mean and std do not fit each other or a std is not positive.
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
                f'mean and std need one value a channel, std positive, got mean={mean}, std={std}'
            )
        self.num_classes = num_classes
        self.scale = tuple(map(float, mean)), tuple(map(float, std))
        # Not saved: a checkpoint has the keys of the network.
        self.register_buffer('mean', torch.tensor(self.scale[0]).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(self.scale[1]).view(-1, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> list[Tensor]:
        """Images ``(N, C, H, W)``, normalised, and labels ``(N,)``.

        Raises:
            ValueError: If a label is none of the classes.
        """
        images, labels = data
        self._check(labels)  # before the move: on a GPU it would wait for the device
        images, labels = self.cast_data([images, labels])
        return [(images.float() - self.mean) / self.std, labels]

    def _check(self, labels: Tensor) -> None:
        if self.num_classes is None:
            return
        wrong = (labels < 0) | (labels >= self.num_classes)
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise ValueError(
                f'labels must lie in [0, {self.num_classes}), the classes of the network, got '
                f'{int(labels[index])} (image {index} of the batch)'
            )


def renormalize(images: Tensor, student: ImagePreprocessor, teacher: ImagePreprocessor) -> Tensor:
    """From the student's normalised batch to what the teacher's preprocessor would have made.

    Args:
        images: Shape ``(N, C, H, W)``; returned as they are if nothing differs.
        student: Made the batch.
        teacher: Of the teacher.
    """
    if student.scale == teacher.scale:
        return images
    return (images * student.std + student.mean - teacher.mean) / teacher.std


def collate_images(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Images ``(N, 3, H, W)`` and labels ``(N,)``; skipped images are left out.

    Raises:
        ValueError: If none is left.
    """
    left = [sample for sample in samples if sample is not None]
    if not left:
        raise ValueError(f'none of the {len(samples)} images of a batch decodes')
    return default_collate(left)


TORCHVISION_TRANSFORMS = Registry('torchvision transform')


for _name, _value in vars(transforms).items():
    if isinstance(_value, type) and not issubclass(_value, Enum):
        TORCHVISION_TRANSFORMS.register_module(_name, module=_value)


def build_transform(configs: Sequence[Mapping[str, Any]]) -> Callable[[Image.Image], Tensor]:
    """Chain transforms of torchvision; images come out as bytes, shape ``(3, H, W)``.

    Args:
        configs: Each a ``type``, a class of ``torchvision.transforms``, and its arguments. An
            ``interpolation`` is given by name, e.g. ``'bicubic'``.

    Raises:
        TypeError, KeyError: If a section is wrong; with the valid names.
    """
    steps = []
    for index, config in enumerate(configs):
        config = dict(config)
        if isinstance(config.get('interpolation'), str):
            config['interpolation'] = transforms.InterpolationMode(config['interpolation'])
        section = f'transforms[{index}]'
        names = TORCHVISION_TRANSFORMS.module_dict
        steps.append(build_strict(section, config, names, names.get))
    return transforms.Compose([*steps, transforms.PILToTensor()])


BAD_IMAGE = ('raise', 'skip')


class ImageDataset(Dataset):
    """Base of the data sets: transforms, class names, and images that do not decode.

    A subclass gives images by :meth:`read`.

    Args:
        classes: Names of the classes in order; checkpoints carry them.
        transforms: Of torchvision; see :func:`build_transform`.
        on_bad_image: What an image that does not decode does: ``'raise'`` stops with its name,
            ``'skip'`` leaves it out of its batch, with a warning.

    Raises:
        ValueError: If ``on_bad_image`` is something else.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        transforms: Sequence[Mapping[str, Any]] = (),
        on_bad_image: str = 'raise',
    ) -> None:
        if on_bad_image not in BAD_IMAGE:
            raise ValueError(f'on_bad_image must be one of {BAD_IMAGE}, got {on_bad_image!r}')
        self.metainfo = dict(classes=tuple(classes))
        self.on_bad_image = on_bad_image
        self._transform = build_transform(transforms)

    def read(self, index: int) -> tuple[Image.Image, int]:
        """Image and label; an ``OSError`` or ``SyntaxError`` where the image does not decode."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """What to call an image in a message, e.g. its path."""
        return f'image {index}'

    def labels(self) -> Sequence[int]:
        """Label of each image, without reading the images."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels())

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        """Image as bytes ``(3, H, W)`` and label; None for one to be skipped.

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
