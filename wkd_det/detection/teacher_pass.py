"""The teacher's view of the student's batch."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.detection.roi_heads import run_box_head
from wkd_det.detection.teacher_input import TeacherInput


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


def _map_length(own: int, other: int, length: int) -> int:
    """Length of the map of ``own`` pixels if ``other`` pixels give ``length``."""
    stride = 1
    while -(-other // stride) > length:  # strides are powers of two, and maps are rounded up
        stride *= 2
    if -(-other // stride) != length:
        stride = other / length
    return int(-(-own // stride))
