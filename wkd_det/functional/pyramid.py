"""Checks shared by the losses on feature pyramids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def level_masks(
    student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Sequence[Tensor | None] | None
) -> list[Tensor | None]:
    """One mask, or None, for each level of two pyramids that fit.

    Args:
        student: Maps of a pyramid, each ``(N, C, H, W)``.
        teacher: Maps of the same shapes.
        mask: Bool, each ``(N, H, W)``, or None for all pixels of a level, or of all levels.

    Raises:
        ValueError: If there are no levels, their numbers differ or shapes disagree.
    """
    masks = [None] * len(student) if mask is None else list(mask)
    if not student or not len(student) == len(teacher) == len(masks):
        raise ValueError(
            'student, teacher and mask must have the same number of levels, at least 1, got '
            f'{len(student)}, {len(teacher)} and {len(masks)}'
        )
    for level, (own, other, inside) in enumerate(zip(student, teacher, masks)):
        if own.dim() != 4 or own.shape != other.shape:
            raise ValueError(
                f'level {level} of student and teacher must share a shape (N, C, H, W), '
                f'got {tuple(own.shape)} and {tuple(other.shape)}'
            )
        shape = (own.shape[0], *own.shape[-2:])
        if inside is not None and (inside.dtype != torch.bool or inside.shape != shape):
            raise ValueError(
                f'mask of level {level} must be bool and have the shape (N, H, W) = {shape}, '
                f'got {inside.dtype} and {tuple(inside.shape)}'
            )
    return masks
