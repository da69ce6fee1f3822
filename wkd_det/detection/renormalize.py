"""From the student's normalised batch to the one the teacher's preprocessor would make."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def renormalize(
    inputs: Tensor, image_sizes: list[tuple[int, int]], student: nn.Module, teacher: nn.Module
) -> Tensor:
    """Undo the student's normalisation and apply the teacher's.

    Mean, standard deviation, channel order, padding value and padding divisor become the
    teacher's. A batch that needs no change is returned as it is.

    Args:
        inputs: The student's batch, shape ``(N, 3, H, W)``.
        image_sizes: Height and width of each image without padding.
        student: ``ImgDataPreprocessor`` that made the batch.
        teacher: ``ImgDataPreprocessor`` of the teacher.

    Returns:
        Shape ``(N, 3, H', W')``: the teacher's padding may be larger.
    """
    if not _same_pixels(student, teacher):
        pixels = _denormalised(inputs.float(), student)
        if student._channel_conversion != teacher._channel_conversion:
            pixels = pixels[:, [2, 1, 0]]
        pixels = _normalised(pixels, teacher)
        inside = _inside(image_sizes, pixels)
        inputs = torch.where(inside, pixels, float(teacher.pad_value)).to(inputs.dtype)
    divisor = teacher.pad_size_divisor
    height, width = inputs.shape[-2:]
    extra = (-width % divisor, -height % divisor)
    if any(extra):
        inputs = F.pad(inputs, (0, extra[0], 0, extra[1]), value=float(teacher.pad_value))
    return inputs


def _same_pixels(student: nn.Module, teacher: nn.Module) -> bool:
    names = ('_enable_normalize', '_channel_conversion', 'pad_value')
    if any(getattr(student, name) != getattr(teacher, name) for name in names):
        return False
    if not student._enable_normalize:
        return True
    return bool(
        torch.equal(student.mean.cpu(), teacher.mean.cpu())
        and torch.equal(student.std.cpu(), teacher.std.cpu())
    )


def _denormalised(inputs: Tensor, preprocessor: nn.Module) -> Tensor:
    if not preprocessor._enable_normalize:
        return inputs
    return inputs * preprocessor.std.to(inputs) + preprocessor.mean.to(inputs)


def _normalised(pixels: Tensor, preprocessor: nn.Module) -> Tensor:
    if not preprocessor._enable_normalize:
        return pixels
    return (pixels - preprocessor.mean.to(pixels)) / preprocessor.std.to(pixels)


def _inside(image_sizes: list[tuple[int, int]], like: Tensor) -> Tensor:
    """Pixels of the images, not of the padding; bool, shape ``(N, 1, H, W)``."""
    height, width = like.shape[-2:]
    sizes = torch.tensor(image_sizes, device=like.device)
    rows = torch.arange(height, device=like.device) < sizes[:, :1]
    columns = torch.arange(width, device=like.device) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
