"""Checks of feature maps, shared by the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor


def check_maps(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, same_size: bool = True
) -> None:
    """Refuse feature maps and masks that do not go together.

    Args:
        student: Should be of shape ``(N, C, H, W)``, ``C``, ``H`` and ``W`` above 0.
        teacher: Should be of the same shape.
        mask: Should be bool of shape ``(N, H, W)``, or None.
        same_size: Without it, ``H`` and ``W`` may differ.

    Raises:
        ValueError: With what was given.
    """
    shared = slice(None) if same_size else slice(2)
    if student.dim() != 4 or teacher.dim() != 4 or student.shape[shared] != teacher.shape[shared]:
        raise ValueError(
            f'student and teacher must share a shape (N, C, H, W), got {tuple(student.shape)} and '
            f'{tuple(teacher.shape)}{"" if same_size else "; only H and W may differ"}'
        )
    for features in (student, teacher):
        if 0 in features.shape[1:]:
            raise ValueError(f'feature maps must not be empty, got {tuple(features.shape)}')
    samples, _, height, width = student.shape
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (samples, height, width)):
        raise ValueError(
            f'mask must be bool and have the shape (N, H, W) = {(samples, height, width)}, '
            f'got {mask.dtype} and {tuple(mask.shape)}'
        )
