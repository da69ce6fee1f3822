"""The input of a teacher detector: its own pixels and padding, made from the student's batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from wkd_det.detection.geometry import on_device
from wkd_det.distillation.images import check_pixels, grey_as_colours


class TeacherInput:
    """Undoes the student's normalisation and padding and applies the teacher's.

    Mean, standard deviation, channel order, padding value and padding divisor become the
    teacher's. The differences are found once, here, so that a step waits for no device.

    Where the student's preprocessor has no mean and std, its first batch is checked: pixels that
    the pipeline has normalised must not be normalised again. ``mean=[0, 0, 0]`` and
    ``std=[1, 1, 1]`` say that they are pixels, whatever they look like.

    Args:
        student: The data preprocessor that makes the batches.
        teacher: The data preprocessor of the teacher.
        repeats: Give the teacher, a network of 3 channels, each grey image three times.

    Raises:
        ValueError: If one of them is no ``ImgDataPreprocessor``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, *, repeats: bool = False) -> None:
        for owner, preprocessor in (('student', student), ('teacher', teacher)):
            if not isinstance(preprocessor, ImgDataPreprocessor):
                raise ValueError(
                    f'the data preprocessor of the {owner} must be an ImgDataPreprocessor, to '
                    f'bring images from one to the other, got {type(preprocessor).__name__}'
                )
        self._divisor = teacher.pad_size_divisor
        self._pad_value = float(teacher.pad_value)
        self._flips = student._channel_conversion != teacher._channel_conversion
        mean, std = _statistics(student)
        if self._flips:
            mean, std = mean.flip(0), std.flip(0)
        teacher_mean, teacher_std = _statistics(teacher)
        scale, shift = std / teacher_std, (mean - teacher_mean) / teacher_std
        same_units = bool((scale == 1).all() and (shift == 0).all())
        self._same_pixels = same_units and not self._flips
        self._same_padding = self._same_pixels and student.pad_value == teacher.pad_value
        self._scale, self._shift = scale.float(), shift.float()
        self._unchecked = not student._enable_normalize and not same_units
        self._teacher_std = teacher_std
        self._repeats = repeats

    def __call__(self, inputs: Tensor, image_sizes: list[tuple[int, int]]) -> Tensor:
        """The teacher's batch.

        Args:
            inputs: The student's batch, shape ``(N, C, H, W)``.
            image_sizes: Height and width of each image without padding.

        Returns:
            Shape ``(N, C', H', W')``; the batch itself if nothing differs.

        Raises:
            ValueError: In the first batch, if the pipeline has normalised it.
        """
        pixels = inputs
        if self._unchecked:
            check_pixels(inputs, self._teacher_std)
            self._unchecked = False  # once is enough, and waits for the device
        if not self._same_pixels:
            self._scale, self._shift = (
                value.to(inputs.device) for value in (self._scale, self._shift)
            )
            if self._flips:
                pixels = pixels.flip(1)
            pixels = (pixels * self._scale + self._shift).to(inputs.dtype)
        if self._repeats:
            pixels = grey_as_colours(pixels)
        if not self._same_padding:
            pixels = pixels.masked_fill(~_inside(image_sizes, pixels), self._pad_value)
        extra = [
            -(-max(sizes) // self._divisor) * self._divisor - length
            for sizes, length in zip(zip(*image_sizes), inputs.shape[-2:])
        ]
        if any(extra):  # below 0: the student pads more
            pixels = F.pad(pixels, (0, extra[1], 0, extra[0]), value=self._pad_value)
        return pixels


def _statistics(preprocessor: ImgDataPreprocessor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each of the shape ``(3, 1, 1)`` or ``(1, 1, 1)``."""
    if not preprocessor._enable_normalize:
        return torch.zeros(1, 1, 1).double(), torch.ones(1, 1, 1).double()
    return preprocessor.mean.cpu().double(), preprocessor.std.cpu().double()


def _inside(image_sizes: list[tuple[int, int]], like: Tensor) -> Tensor:
    """Pixels of the images, not of the padding; bool, shape ``(N, 1, H, W)``."""
    height, width = like.shape[-2:]
    sizes = on_device(image_sizes, like.device)
    rows = torch.arange(height, device=like.device) < sizes[:, :1]
    columns = torch.arange(width, device=like.device) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
