"""Descriptions of the instances of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Instances:
    """True and invented instances, padded to the same number an image."""

    labels: Tensor
    """Classes, shape ``(N, L)``."""
    points: Tensor
    """A point near the centre of each box, shape ``(N, L, 2)``, in units of the image."""
    extents: Tensor
    """Width and height of each box in pixels, shape ``(N, L, 2)``."""
    sides: Tensor
    """Distances from the point to the left, upper, right and lower side, ``(N, L, 4)``, in units
    of the image."""
    valid: Tensor
    """1 for instances, 0 for padding, shape ``(N, L)``."""
    true: Tensor
    """1 for the objects of the image, shape ``(N, L)``."""
