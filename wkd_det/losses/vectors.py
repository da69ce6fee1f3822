"""Losses of one vector per image: maps averaged over their pixels, and embeddings of both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.losses.linear import Linear
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_integers, check_tensors, plain_number


def pixel_mean(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean feature vector of each image.

    Args:
        maps: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        mask: Bool, shape ``(N, H, W)``: pixels that count. An image without one gives zeros.

    Returns:
        Shape ``(N, C)``.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If a shape differs, or the mask is not bool.
    """
    check_tensors(maps=maps)
    if maps.dim() != 4 or 0 in maps.shape[1:]:
        raise ValueError(f'feature maps must have the shape (N, C, H, W), got {tuple(maps.shape)}')
    with without_autocast(maps):
        pixels = promote(maps)[0].flatten(2)
        if mask is None:
            return pixels.mean(dim=2)
        check_tensors(mask=mask)
        samples, _, height, width = maps.shape
        if mask.shape != (samples, height, width) or mask.dtype != torch.bool:
            raise ValueError(
                f'mask must be bool and have the shape (N, H, W) = {(samples, height, width)}, '
                f'got {mask.dtype} and {tuple(mask.shape)}'
            )
        inside = mask.flatten(1)[:, None]
        total = pixels.masked_fill(~inside, 0).sum(dim=2)  # padding may hold anything, also inf
        return total / inside.sum(dim=2).clamp(min=1)


class VectorLoss(Loss):
    """A function of the student's and the teacher's mean feature vectors, times a weight.

    Args:
        function: Takes vectors ``(N, D)`` of both networks; returns a scalar.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If ``loss_weight`` is negative.
    """

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def __init__(self, function: Callable[..., Tensor], loss_weight: float) -> None:
        super().__init__(loss_weight)
        self.function = function

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: pixels that count."""
        vectors = (pixel_mean(maps, mask) for maps in (student, teacher.detach()))
        return self.loss_weight * self.function(*vectors)


class EmbeddedLoss(Loss):
    """Base of losses that compare linear embeddings of both networks' mean feature vectors.

    Both embeddings are trained; the teacher's network gets no gradient.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        width: Width of the embeddings.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.
    """

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self, *, student_channels: int, teacher_channels: int, width: int, loss_weight: float
    ) -> None:
        super().__init__(loss_weight)
        check_integers(
            student_channels=student_channels, teacher_channels=teacher_channels, width=width
        )
        self.width = plain_number(width)
        self.student_embedding = Linear(plain_number(student_channels), self.width)
        self.teacher_embedding = Linear(plain_number(teacher_channels), self.width)

    def embed(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None, *, unit: bool
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of maps ``(N, C, H, W)``, each ``(N, width)``; of length 1 if ``unit``."""
        embedded = (
            self.student_embedding(pixel_mean(student, mask)),
            self.teacher_embedding(pixel_mean(teacher.detach(), mask)),
        )
        return tuple(F.normalize(one, dim=1) for one in embedded) if unit else embedded
