"""The handwritten digits that scikit-learn ships, as a small classification task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from PIL import Image

from wkd_det.classification.datasets.image_dataset import ImageDataset
from wkd_det.classification.datasets.split import check_split

_TEST_PER_CLASS = 60
_LARGEST = 16  # of the digits' pixels


@DATASETS.register_module()
class DigitsDataset(ImageDataset):
    """1797 scanned digits of 8 x 8 pixels, enlarged, in noise.

    Deterministic: the same arguments give the same images. No digit is in both splits, and a
    smaller ``per_class`` is a part of a larger one.

    Args:
        split: ``'train'`` or ``'test'`` (60 of each class).
        per_class: Training images of each class; all by default (114 at least).
        size: Side of the enlarged image (bilinear).
        noise: Standard deviation of the Gaussian noise on the pixels, in units of their range.
        seed: Of the noise, and of which digits are in which split.
        **options: Of :class:`ImageDataset`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If a number is outside its range.
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
        check_split(split, ('train', 'test'))
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
        chosen = _choose(digits.target, split, per_class, seed)
        self._labels = [int(label) for label in digits.target[chosen]]
        self._images = [
            _enlarge(digits.images[index], size, noise, np.random.default_rng((seed, int(index))))
            for index in chosen
        ]

    def read(self, index: int) -> tuple[Image.Image, int]:
        return self._images[index], self._labels[index]

    def labels(self) -> Sequence[int]:
        return self._labels


def _choose(labels: np.ndarray, split: str, per_class: int | None, seed: int) -> list[int]:
    """Indices into the 1797 digits, class after class."""
    chosen: list[int] = []
    for digit in range(10):
        order = np.random.default_rng((seed, digit)).permutation(np.flatnonzero(labels == digit))
        test, train = order[:_TEST_PER_CLASS], order[_TEST_PER_CLASS:]
        if per_class is not None and not 1 <= per_class <= len(train):
            raise ValueError(
                f'per_class must lie in [1, {len(train)}] for the digit {digit}, got {per_class}'
            )
        chosen += (test if split == 'test' else train[:per_class]).tolist()
    return chosen


def _enlarge(
    pixels: np.ndarray, size: int, noise: float, generator: np.random.Generator
) -> Image.Image:
    grey = Image.fromarray((pixels * (255 / _LARGEST)).astype(np.uint8))
    large = np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float64)
    noisy = large + generator.normal(0, 255 * noise, large.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert('RGB')
