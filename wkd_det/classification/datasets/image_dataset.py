"""Labelled images for classification."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from wkd_det.classification.datasets.transforms import build_transform

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
