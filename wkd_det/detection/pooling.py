"""Pooling of RoIs from the levels of a pyramid, with the rows of each level found once per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from wkd_det.distillation.recording import replaced
from wkd_det.distillation.zeros import zero_of


class LevelRows:
    """Rows of RoIs by the level they are pooled from, found once for each set of RoIs.

    How many RoIs a level has decides the shapes of what follows, so a GPU is waited for. An
    extractor of MMDetection waits once per level whenever it is called; this does once for all
    extractors of both networks that share their scale.
    """

    def __init__(self) -> None:
        self._found: list[tuple[Tensor, tuple, tuple[Tensor, ...]]] = []

    def of(self, extractor: SingleRoIExtractor, rois: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Row indices ``(R_l,)`` per level, ascending.

        Args:
            extractor: Knows its levels.
            rois: Shape ``(R, 5)``.
            like: A map of the pyramid. As in MMDetection the levels are those of RoIs in its type,
                but those of bfloat16, whose coordinates are off by pixels, in float32.
        """
        dtype = _wide(like.dtype)
        levels = extractor.num_inputs
        key = type(extractor).map_roi_levels, extractor.finest_scale, levels, dtype
        for seen, known, rows in self._found:
            if seen is rois and known == key:
                return rows
        level = extractor.map_roi_levels(rois.to(dtype), levels)
        counts = (level[:, None] == torch.arange(levels, device=rois.device)).sum(0).tolist()
        rows = level.argsort(stable=True).split(counts)
        self._found.append((rois, key, rows))
        return rows

    def pooled(self, extractor: SingleRoIExtractor, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
        """RoIAlign of the maps, shape ``(R, C, H, W)``: what the extractor itself gives.

        Where maps are in bfloat16, which the kernels do not know, they are pooled in float32.

        Args:
            extractor: One that pools as ``SingleRoIExtractor`` does.
            maps: One per level, ``(N, C, H_l, W_l)``.
            rois: Shape ``(R, 5)``.
        """
        single = len(maps) == 1 and len(rois) > 0
        rows = (slice(None),) if single else self.of(extractor, rois, maps[0])
        rois = rois.to(_wide(maps[0].dtype))
        size = extractor.roi_layers[0].output_size
        result = maps[0].new_zeros(len(rois), extractor.out_channels, *size)
        empty = []
        for layer, features, chosen in zip(extractor.roi_layers, maps, rows):
            if single or len(chosen):
                part = layer(features.to(_wide(features.dtype)), rois[chosen])
                result[chosen] = part.to(result.dtype)
            elif features.requires_grad:
                empty.append(features)
        # Processes that share gradients want one for every level: 0 where no RoI was pooled.
        return result + zero_of(*empty) if empty else result


def pooled(rows: LevelRows, extractor: nn.Module, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
    """RoIAlign by any extractor, shape ``(R, C, H, W)``; levels are shared where they can be.

    Args:
        rows: Rows by level of this step.
        extractor: One of the student or the teacher.
        maps: Maps of the neck, at least as many as it takes.
        rois: Shape ``(R, 5)``.
    """
    maps = tuple(maps[: extractor.num_inputs])
    if _is_plain(extractor):
        return rows.pooled(extractor, maps, rois)
    wide = tuple(features.to(_wide(features.dtype)) for features in maps)
    return extractor(wide, rois).to(maps[0].dtype)


@contextmanager
def shared_levels(extractor: nn.Module, rows: LevelRows) -> Iterator[None]:
    """A block in which an extractor that others call shares the rows of its levels."""
    if not _is_plain(extractor):
        yield
        return

    def forward(
        maps: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        if roi_scale_factor is not None or len(maps) != extractor.num_inputs:
            return type(extractor).forward(extractor, maps, rois, roi_scale_factor)
        return rows.pooled(extractor, maps, rois)

    with replaced(extractor, 'forward', forward):
        yield


def _is_plain(extractor: nn.Module) -> bool:
    """Whether it pools as ``SingleRoIExtractor`` does."""
    return getattr(type(extractor), 'forward', None) is SingleRoIExtractor.forward


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype
