"""Handwritten digits: those of scikit-learn, split into train and val, and enlarged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from dataset_folder import DatasetError

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
SPLITS = ('train', 'val')
VAL_SHARE = 0.25
"""Share of every class's samples that only val may draw."""
INK = 0.35
"""Opacity from which a pixel counts as ink, for a box or for a crop."""


class Source(NamedTuple):
    """Digits of a split: indices ``(N,)``, labels ``(N,)``, ink ``(N, 8, 8)`` in [0, 1]."""

    indices: np.ndarray
    labels: np.ndarray
    ink: np.ndarray


def split_samples(labels: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split sample indices into train and val, class by class.

    Args:
        labels: Class of every sample, shape ``(N,)``.
        seed: Seed of the shuffle.

    Returns:
        Sorted indices of train and of val: disjoint, together all of ``0 .. N - 1``.
    """
    rng = np.random.default_rng([seed, 0])
    train, val = [], []
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        held_out = max(1, round(len(indices) * VAL_SHARE))
        val.append(indices[:held_out])
        train.append(indices[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def load_sources(*, seed: int) -> dict[str, Source]:
    """Load scikit-learn's digits, already split; the result is keyed by split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetError(
            'scikit-learn is needed for its handwritten digits; '
            "install it with: pip install 'wkd_det[mini]'"
        ) from error
    digits = load_digits()
    ink = (digits.images / 16).astype(np.float32)
    train, val = split_samples(digits.target, seed=seed)
    return {
        split: Source(indices, digits.target[indices], ink[indices])
        for split, indices in (('train', train), ('val', val))
    }


def resize(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a float image ``(H, W)`` bicubically to ``(height, width)``."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def crop_to(mask: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the tight box around the true pixels of ``mask`` ``(H, W)``."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def enlarge_ink(ink: np.ndarray, side: int) -> np.ndarray:
    """Return the opacity of an enlarged digit, cropped to its ink.

    Args:
        ink: Digit or part of one, shape ``(h, w)``, values in [0, 1], not all blank.
        side: About the length of the result's longer side, in pixels.

    Returns:
        Opacity in [0, 1], shape ``(H, W)``; every border row and column holds ink, so the
        array's frame is the tight box.
    """
    tight = ink[crop_to(ink >= INK)]
    scale = side / max(tight.shape)
    padded = np.pad(tight, 1)  # room for the edge of a stroke to fade out
    height, width = (round(length * scale) for length in padded.shape)
    # Bicubic enlargement blurs the edges; the ramp makes them crisp pen strokes again.
    opacity = np.clip((resize(padded, width, height) - 0.3) / 0.3, 0, 1)
    return opacity[crop_to(opacity >= INK)]
