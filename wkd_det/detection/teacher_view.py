"""From the student's batch to the one that the teacher's own preprocessor would make."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from wkd_det.detection.geometry import _map_length
from wkd_det.detection.heads import run_box_head


class TeacherInput:
    """Undoes the student's normalisation and padding and applies the teacher's.

    Mean, standard deviation, channel order, padding value and padding divisor become the
    teacher's. What differs is found out once, here, so that a step waits for no device.

    Args:
        student: The data preprocessor that makes the batches.
        teacher: The data preprocessor of the teacher.

    Raises:
        ValueError: If one of them is no ``ImgDataPreprocessor``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
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
        self._same_pixels = bool((scale == 1).all() and (shift == 0).all()) and not self._flips
        self._same_padding = self._same_pixels and student.pad_value == teacher.pad_value
        self._scale, self._shift = scale.float(), shift.float()

    def __call__(self, inputs: Tensor, image_sizes: list[tuple[int, int]]) -> Tensor:
        """The teacher's batch.

        Args:
            inputs: The student's batch, shape ``(N, 3, H, W)``.
            image_sizes: Height and width of each image without padding.

        Returns:
            Shape ``(N, 3, H', W')``; the batch itself if nothing differs.
        """
        pixels = inputs
        if not self._same_pixels:
            self._scale, self._shift = (
                value.to(inputs.device) for value in (self._scale, self._shift)
            )
            if self._flips:
                pixels = pixels.flip(1)
            pixels = (pixels * self._scale + self._shift).to(inputs.dtype)
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
    sizes = torch.tensor(image_sizes, device=like.device)
    rows = torch.arange(height, device=like.device) < sizes[:, :1]
    columns = torch.arange(width, device=like.device) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]


class TeacherPass:
    """Runs the teacher on one batch, each part at most once and only when a tap asks for it.

    The backbone, which every tap needs, can run earlier by :meth:`run_backbone`.

    Args:
        teacher: The teacher detector, in eval mode.
        teacher_input: Makes the teacher's batch from the student's.
        inputs: The student's batch, shape ``(N, 3, H, W)``.
        image_sizes: Height and width of each image without padding.
    """

    def __init__(
        self,
        teacher: nn.Module,
        teacher_input: TeacherInput,
        inputs: Tensor,
        image_sizes: list[tuple[int, int]],
    ) -> None:
        self.module = teacher
        self._teacher_input = teacher_input
        self._student_inputs = inputs
        self._image_sizes = image_sizes
        self._heads: list[tuple[Tensor, int, dict[str, Tensor]]] = []

    def run_backbone(self) -> None:
        """Run it now: before the student, whose graph does not fill the memory yet.

        Then the teacher's intermediate results take turns in the same memory.
        """
        self._backbone  # noqa: B018  a cached property

    @cached_property
    @torch.no_grad()
    def inputs(self) -> Tensor:
        """The batch as the teacher's own preprocessor would make it, shape ``(N, 3, H', W')``."""
        return self._teacher_input(self._student_inputs, self._image_sizes)

    @cached_property
    @torch.no_grad()
    def _backbone(self) -> tuple[Tensor, ...]:
        return tuple(self.module.backbone(self.inputs))

    @cached_property
    @torch.no_grad()
    def _neck(self) -> tuple[Tensor, ...]:
        return tuple(self.module.neck(self._backbone))

    @property
    def backbone(self) -> tuple[Tensor, ...]:
        """Backbone maps, of the size they have on the student's batch."""
        return self._fitted(self._backbone)

    @property
    def neck(self) -> tuple[Tensor, ...]:
        """Neck maps, of the size they have on the student's batch."""
        return self._fitted(self._neck)

    @torch.no_grad()
    def head(self, rois: Tensor, stage: int) -> dict[str, Tensor]:
        """Result of the box head on the student's RoIs: ``cls_score``, ``bbox_feats``, ...

        Args:
            rois: Shape ``(R, 5)``.
            stage: Of a Cascade teacher; other teachers have stage 0 only.
        """
        for seen, seen_stage, result in self._heads:
            if seen is rois and seen_stage == stage:
                return result
        result = run_box_head(self.module, self._neck, rois, stage)
        self._heads.append((rois, stage, result))
        return result

    @torch.no_grad()
    def pool(self, extractor: nn.Module, rois: Tensor) -> Tensor:
        """RoIAlign of the neck maps, shape ``(R, C, H, W)``."""
        return extractor(self._neck[: extractor.num_inputs], rois)

    def _fitted(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Cut, or extend by zeros, where the two batches are padded to other sizes.

        A pixel of a map lies at the same place of the image in both, and what is cut or added
        lies behind the image, where nothing counts.
        """
        own, other = self._student_inputs.shape[-2:], self.inputs.shape[-2:]
        if own == other:
            return maps
        fitted = []
        for features in maps:
            sizes = zip(own, other, features.shape[-2:])
            height, width = (_map_length(own, other, length) for own, other, length in sizes)
            extra = (0, width - features.shape[-1], 0, height - features.shape[-2])
            fitted.append(F.pad(features, extra))
        return tuple(fitted)
