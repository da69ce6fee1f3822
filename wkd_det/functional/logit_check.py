"""Checks of logits and class indices, shared by the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor


def check_logits(student: Tensor, teacher: Tensor) -> None:
    """Refuse logits of different shapes.

    Raises:
        ValueError: With both shapes.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (N, C), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )


def check_target(target: Tensor, logits: Tensor, form: str) -> None:
    """Refuse class indices that do not go with the logits.

    Args:
        target: Class indices, should be of shape ``(N,)``.
        logits: Shape ``(N, C)``.
        form: What needs a class beside the target, for the message.

    Raises:
        ValueError: If the shape is another, an index lies outside ``[0, C)``, or ``C < 2``.
    """
    samples, classes = logits.shape
    if target.shape != (samples,):
        raise ValueError(f'target must have the shape ({samples},), got {tuple(target.shape)}')
    if classes < 2:
        raise ValueError(f'{form} needs at least 2 classes, got {classes}')
    if samples:
        low, high = torch.stack(target.aminmax()).tolist()
        if low < 0 or high >= classes:
            raise ValueError(f'target must lie in [0, {classes}), got values from {low} to {high}')
