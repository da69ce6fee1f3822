"""Augmentation of a batch at a time: torchvision's crops and flips of images held in arrays.

What is drawn is apart from what is done with it, so that the draws of an image can be kept: a
table of draws is a fixed set of views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision.transforms as transforms
import torchvision.transforms.functional as F  # noqa: N812  torch's own name for it
from torch import Generator, Tensor

from wkd_det.ops.checks import check_integers, is_number, listed

_Size = tuple[int, int]


class _Step:
    """A transform of torchvision for a batch of equal images.

    Args:
        transform: With the settings.
        size: Height and width of the images that it is given.
    """

    draws = 0
    """Whole numbers that are drawn for each image."""

    def __init__(self, transform: Any, size: _Size) -> None:
        self.transform = transform
        self.size = size
        """Height and width of the images that it gives."""

    def draw(self, count: int, generator: Generator | None) -> Tensor:
        """Return what is drawn for ``count`` images, ``(count, draws)``."""
        return torch.zeros(count, 0, dtype=torch.int16)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)`` transformed as drawn."""
        raise NotImplementedError


class _Whole(_Step):
    """A transform without chance: a centre crop, padding."""

    def __init__(self, transform: Any, size: _Size) -> None:
        shape = transform(torch.zeros(1, *size, dtype=torch.uint8)).shape
        super().__init__(transform, tuple(shape[-2:]))

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        return self.transform(images)


class _Crop(_Step):
    """Random crops of images that are padded first."""

    draws = 2

    def __init__(self, transform: transforms.RandomCrop, size: _Size) -> None:
        super().__init__(transform, tuple(transform.size))
        height, width = self._padded(torch.zeros(1, 1, *size, dtype=torch.uint8)).shape[-2:]
        self._room = height - self.size[0], width - self.size[1]
        if min(self._room) < 0:
            raise ValueError(
                f'RandomCrop must cut at most {height} x {width}, the padded image, got '
                f'{self.size[0]} x {self.size[1]}'
            )

    def draw(self, count: int, generator: Generator | None) -> Tensor:
        columns = [torch.randint(room + 1, (count,), generator=generator) for room in self._room]
        return torch.stack(columns, dim=1).short()

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        height, width = self.size
        windows = self._padded(images).unfold(2, height, 1).unfold(3, width, 1)
        top, left = drawn.long().unbind(1)
        return windows[torch.arange(len(images)), :, top, left]

    def _padded(self, images: Tensor) -> Tensor:
        """Return images padded as torchvision pads one before it cuts."""
        crop = self.transform
        if crop.padding is not None:
            images = F.pad(images, crop.padding, crop.fill, crop.padding_mode)
        if crop.pad_if_needed:
            height, width = images.shape[-2:]
            sides = [max(self.size[1] - width, 0), max(self.size[0] - height, 0)]
            images = F.pad(images, sides, crop.fill, crop.padding_mode)
        return images


class _Flip(_Step):
    """Random reflections along one dimension."""

    draws = 1

    def __init__(self, transform: Any, size: _Size, dim: int) -> None:
        super().__init__(transform, size)
        self._dim = dim

    def draw(self, count: int, generator: Generator | None) -> Tensor:
        return (torch.rand(count, 1, generator=generator) < self.transform.p).short()

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        chosen = drawn[:, 0].bool()
        return torch.where(chosen[:, None, None, None], images.flip(self._dim), images)


def _step(transform: Any, size: _Size) -> _Step:
    kind = type(transform)
    fill = getattr(transform, 'fill', 0)
    if not is_number(fill):
        raise ValueError(f'batched=True needs one fill for all channels, got {fill}')
    if kind is transforms.RandomCrop:
        return _Crop(transform, size)
    if kind is transforms.RandomHorizontalFlip:
        return _Flip(transform, size, dim=3)
    if kind is transforms.RandomVerticalFlip:
        return _Flip(transform, size, dim=2)
    if kind in (transforms.CenterCrop, transforms.Pad):
        return _Whole(transform, size)
    raise ValueError(
        f'batched=True knows {listed(BATCHED)}, got {kind.__name__}: leave batched at False'
    )


BATCHED = ('RandomCrop', 'RandomHorizontalFlip', 'RandomVerticalFlip', 'CenterCrop', 'Pad')
"""Transforms of torchvision that a whole batch can go through."""


class BatchAugmentation:
    """Transforms of torchvision for whole batches of equal images, equal in distribution.

    Convention:
        - Each image has draws of its own, as if torchvision had transformed one after the other.
          The numbers come from torch's generator in another order, so that the same seed gives
          other crops.
        - A transform without chance gives the bytes of torchvision.

    Args:
        transforms: Transforms of torchvision, of the kinds in :data:`BATCHED`.
        size: Height and width of the images.

    Raises:
        ValueError: If a transform is of another kind, or a crop larger than its image.
    """

    def __init__(self, transforms: Sequence[Any], size: tuple[int, int]) -> None:
        self._steps: list[_Step] = []
        for transform in transforms:
            self._steps.append(_step(transform, size))
            size = self._steps[-1].size

    def draw(self, count: int, generator: Generator | None = None) -> Tensor:
        """Return what is drawn for ``count`` images, 16 bits, shape ``(count, D)``.

        Args:
            count: Number of images.
            generator: Source of the numbers; torch's own by default.
        """
        drawn = [step.draw(count, generator) for step in self._steps]
        return torch.cat(drawn, dim=1) if drawn else torch.zeros(count, 0, dtype=torch.int16)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return images transformed as drawn.

        Args:
            images: Bytes, shape ``(N, C, H, W)``.
            drawn: Result of :meth:`draw`, shape ``(N, D)``.
        """
        parts = drawn.split([step.draws for step in self._steps], dim=1) if self._steps else ()
        for step, part in zip(self._steps, parts):
            images = step(images, part)
        return images

    def table(self, count: int, view: int, seed: int) -> Tensor:
        """Return the draws of one fixed view of every image, shape ``(count, D)``.

        Args:
            count: Number of images.
            view: Number of the view, >= 0; each has draws of its own, whatever others there are.
            seed: Seed of all views, >= 0.
        """
        check_integers(0, view=view, seed=seed)
        mixed = np.random.SeedSequence((seed, view)).generate_state(1)  # torch reads 32 bits
        return self.draw(count, torch.Generator().manual_seed(int(mixed[0])))
