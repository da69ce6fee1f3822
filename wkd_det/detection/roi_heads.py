"""Parts of RoI heads, with or without stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from wkd_det.detection.record import RoIStage


def require_roi_head(model: Any, owner: str) -> None:
    """Refuse detectors without a second stage.

    Raises:
        ValueError: Naming the detector.
    """
    is_config = isinstance(model, Mapping)
    roi_head = model.get('roi_head') if is_config else getattr(model, 'roi_head', None)
    if roi_head is None:
        kind = model.get('type') if is_config else type(model).__name__
        raise ValueError(f'the {owner} {kind} has no RoI head: use the tap neck or backbone')


def box_head(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The box head of a stage."""
    require_roi_head(model, owner)
    return _of_stage(model.roi_head.bbox_head, stage)


def roi_extractor(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The RoI extractor of a stage."""
    require_roi_head(model, owner)
    return _of_stage(model.roi_head.bbox_roi_extractor, stage)


def check_stages(student: nn.Module, teacher: nn.Module, stage: int, teacher_stage: int) -> None:
    """Refuse stages that a head does not have.

    Raises:
        ValueError: Naming stage and head.
    """
    for owner, model, wanted in (('student', student, stage), ('teacher', teacher, teacher_stage)):
        require_roi_head(model, owner)
        heads = model.roi_head.bbox_head
        available = len(heads) if isinstance(heads, nn.ModuleList) else 1
        if not 0 <= wanted < available:
            raise ValueError(
                f'{owner} stage must lie in [0, {available}) for '
                f'{type(model.roi_head).__name__}, got {wanted}'
            )


def check_roi_choice(rois: str) -> None:
    """Refuse anything but the two choices of RoIs.

    Raises:
        ValueError: Naming the choices.
    """
    if rois not in ('all', 'foreground'):
        raise ValueError(f"rois must be 'all' or 'foreground', got {rois!r}")


def chosen_rois(stage: RoIStage, rois: str) -> Tensor | None:
    """Rows to compare, or None for all."""
    if rois == 'all':
        return None
    background = stage.logits.shape[1] - 1
    return (stage.labels < background).nonzero().squeeze(1)


def _of_stage(part: nn.Module, stage: int) -> nn.Module:
    return part[stage] if isinstance(part, nn.ModuleList) else part
