"""The teacher's view of the student's batch."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.detection.renormalize import renormalize


class TeacherPass:
    """Runs the teacher on one batch, each part at most once and only when a tap asks for it.

    Args:
        teacher: The teacher detector, in eval mode.
        preprocessor: The student's data preprocessor.
        inputs: The student's batch, shape ``(N, 3, H, W)``.
        image_sizes: Height and width of each image without padding.
    """

    def __init__(
        self,
        teacher: nn.Module,
        preprocessor: nn.Module,
        inputs: Tensor,
        image_sizes: list[tuple[int, int]],
    ) -> None:
        self.module = teacher
        self._inputs = inputs
        self._image_sizes = image_sizes
        self._preprocessor = preprocessor
        self._heads: dict[tuple[int, int], dict[str, Tensor]] = {}

    @cached_property
    def _padded(self) -> Tensor:
        return renormalize(
            self._inputs, self._image_sizes, self._preprocessor, self.module.data_preprocessor
        )

    @cached_property
    @torch.no_grad()
    def _backbone(self) -> tuple[Tensor, ...]:
        return tuple(self.module.backbone(self._padded))

    @cached_property
    @torch.no_grad()
    def _neck(self) -> tuple[Tensor, ...]:
        if not self.module.with_neck:
            raise ValueError(f'the teacher {type(self.module).__name__} has no neck')
        return tuple(self.module.neck(self._backbone))

    @property
    def backbone(self) -> tuple[Tensor, ...]:
        """Backbone maps, cut to the student's batch."""
        return self._cut(self._backbone)

    @property
    def neck(self) -> tuple[Tensor, ...]:
        """Neck maps, cut to the student's batch."""
        return self._cut(self._neck)

    @torch.no_grad()
    def head(self, rois: Tensor, stage: int) -> dict[str, Tensor]:
        """Result of the box head on the student's RoIs: ``cls_score``, ``bbox_feats``, ...

        Args:
            rois: Shape ``(R, 5)``.
            stage: Of a Cascade teacher; other teachers have stage 0 only.
        """
        key = (id(rois), stage)  # the record keeps the RoIs alive as long as this pass lives
        if key not in self._heads:
            roi_head = self.module.roi_head
            staged = isinstance(roi_head.bbox_head, nn.ModuleList)
            arguments: tuple[Any, ...] = (self._neck, rois)
            self._heads[key] = roi_head._bbox_forward(*((stage,) if staged else ()), *arguments)
        return self._heads[key]

    @torch.no_grad()
    def pool(self, extractor: nn.Module, rois: Tensor) -> Tensor:
        """RoIAlign of the neck maps, shape ``(R, C, H, W)``."""
        return extractor(self._neck[: extractor.num_inputs], rois)

    def _cut(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Drop what only a larger padding of the teacher's has added."""
        if self._padded.shape == self._inputs.shape:
            return maps
        cut = []
        for features in maps:
            sizes = zip(self._inputs.shape[-2:], self._padded.shape[-2:], features.shape[-2:])
            height, width = (-(-own * length // padded) for own, padded, length in sizes)
            cut.append(features[..., :height, :width])
        return tuple(cut)
