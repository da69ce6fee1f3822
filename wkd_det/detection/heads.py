"""RoI heads: their parts, with or without stages, and their output on given RoIs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det.detection.pooling import LevelRows, shared_levels


@dataclass
class RoIStage:
    """One call of the box head: a Faster R-CNN has one, a Cascade one per stage."""

    rois: Tensor
    """Image index and box, shape ``(R, 5)``, in pixels of the batch."""
    labels: Tensor
    """Assigned classes, shape ``(R,)``; the number of classes stands for background."""
    logits: Tensor
    """Shape ``(R, K + 1)``."""
    offsets: Tensor
    """Box offsets, shape ``(R, 4 K)``, or ``(R, 4)`` where it is the same for all classes."""
    features: Tensor | None
    """RoIAlign output, shape ``(R, C, H, W)``; None of heads that keep it to themselves (HTC)."""

    def empty(self) -> RoIStage:
        """The same stage without RoIs."""
        parts = vars(self).items()
        return RoIStage(**{name: None if part is None else part[:0] for name, part in parts})


def can_record(roi_head: nn.Module) -> bool:
    """Whether the head has a ``bbox_loss`` that can be recorded."""
    bbox_loss = getattr(roi_head, 'bbox_loss', None)
    return bbox_loss is not None and 'sampling_results' in inspect.signature(bbox_loss).parameters


def require_roi_head(model: Any, owner: str) -> None:
    """Refuse detectors without a second stage.

    Args:
        model: A detector, or its model config.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: Naming the detector.
    """
    if _roi_head(model) is None:
        kind = model.get('type') if isinstance(model, Mapping) else type(model).__name__
        raise ValueError(f'the {owner} {kind} has no RoI head: use the tap neck or backbone')


def box_head(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The box head of a stage."""
    require_roi_head(model, owner)
    return _of_stage(model.roi_head.bbox_head, stage)


def roi_extractor(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The RoI extractor of a stage."""
    require_roi_head(model, owner)
    return _of_stage(model.roi_head.bbox_roi_extractor, stage)


@dataclass
class HeadOutput:
    """Output of a box head on RoIs, row by row."""

    logits: Tensor
    """Shape ``(R, K + 1)``."""
    offsets: Tensor
    """Box offsets, shape ``(R, 4 K)``, or ``(R, 4)`` where they are the same for all classes."""


def run_box_head(
    model: nn.Module,
    maps: tuple[Tensor, ...],
    rois: Tensor,
    stage: int = 0,
    rows: LevelRows | None = None,
) -> HeadOutput:
    """Output of the box head of a stage on given RoIs.

    Args:
        model: A two-stage detector.
        maps: Maps of its neck.
        rois: Shape ``(R, 5)``.
        stage: Stage of a Cascade; other heads have stage 0 only.
        rows: Rows of the RoIs by level, where others have the same RoIs.
    """
    staged = isinstance(model.roi_head.bbox_head, nn.ModuleList)
    extractor = _of_stage(model.roi_head.bbox_roi_extractor, stage)
    with nullcontext() if rows is None else shared_levels(extractor, rows):
        result = model.roi_head._bbox_forward(*((stage,) if staged else ()), maps, rois)
    return HeadOutput(logits=result['cls_score'], offsets=result['bbox_pred'])


def require_plain_forward(model: nn.Module, owner: str) -> None:
    """Refuse detectors whose box head wants more than maps and RoIs.

    Raises:
        ValueError: Naming the head.
    """
    roi_head = model.roi_head
    parameters = inspect.signature(roi_head._bbox_forward).parameters.values()
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    more = [name for name in ('with_semantic', 'with_glbctx') if getattr(roi_head, name, False)]
    if needed - {'stage', 'x', 'rois'} or more:
        raise ValueError(
            f'the box head of the {owner} {type(roi_head).__name__} needs more than feature maps '
            'and RoIs: use the tap roi_feats, neck or backbone'
        )


def require_offsets(model: nn.Module, stage: int, owner: str) -> None:
    """Refuse box heads that do not give four offsets per RoI, or per class.

    Heads that take more than the features of RoIs (Double-Head) are not looked at.

    Raises:
        ValueError: Naming the head.
    """
    head = box_head(model, stage, owner)
    extractor = roi_extractor(model, stage, owner)
    size = extractor.roi_layers[0].output_size
    empty = torch.zeros(1, extractor.out_channels, *size, device='meta')
    try:
        with torch.no_grad():
            _, offsets = copy.deepcopy(head).to('meta').eval()(empty)
    except (NotImplementedError, RuntimeError, TypeError):
        return
    widths = (4, 4 * head.num_classes)
    if not isinstance(offsets, Tensor) or offsets.shape[1] not in widths:
        found = tuple(offsets.shape) if isinstance(offsets, Tensor) else type(offsets).__name__
        raise ValueError(
            f'box offsets need a head that gives four per RoI or per class: the '
            f'{type(head).__name__} of the {owner} gives a {found}'
        )


def require_same_coding(
    student: nn.Module, teacher: nn.Module, stage: int, teacher_stage: int
) -> None:
    """Refuse box heads whose offsets have different meanings.

    Raises:
        ValueError: With both meanings.
    """
    own = _coding(box_head(student, stage, 'student'))
    other = _coding(box_head(teacher, teacher_stage, 'teacher'))
    if own != other:
        raise ValueError(
            'box offsets need the same coding in both heads, '
            f'got {own} in the student and {other} in the teacher'
        )


def num_stages(model: Any) -> int | None:
    """Stages of a Cascade, read from a detector or its model config; None for other heads."""
    head = _roi_head(model)
    return (
        head.get('num_stages') if isinstance(head, Mapping) else getattr(head, 'num_stages', None)
    )


def stage_pairs(
    student: Any,
    teacher: Any,
    stage: int | Sequence[int] | None,
    teacher_stage: int | Sequence[int] | None,
) -> list[tuple[int, int]]:
    """Pairs of stages to compare: one of the student, one of the teacher.

    Nothing is guessed: a head with stages needs ``stage``, and a teacher with other stages than
    the student needs ``teacher_stage``.

    Args:
        student: A detector, or its model config.
        teacher: A detector, or its model config.
        stage: As in the config.
        teacher_stage: As in the config; one index serves all stages of the student.

    Raises:
        ValueError: If a head has no such stage, or a choice is missing.
    """
    require_roi_head(student, 'student')
    require_roi_head(teacher, 'teacher')
    own, other = num_stages(student), num_stages(teacher)
    if stage is None:
        if own is not None:
            raise ValueError(
                f'the RoI head of the student has {own} stages: say which to compare with '
                f'stage=INDEX or stage={list(range(own))}'
            )
        stage = 0
    stages = [stage] if isinstance(stage, int) else list(stage)
    if teacher_stage is None:
        if other is not None and own != other:
            raise ValueError(
                f'the RoI head of the teacher has {other} stages and that of the student '
                f'{own or "none"}: say which to compare with teacher_stage=INDEX'
            )
        teacher_stage = 0 if other is None else stages
    if isinstance(teacher_stage, int):
        teacher_stage = [teacher_stage] * len(stages)
    if len(teacher_stage) != len(stages):
        raise ValueError(f'stage={stages} and teacher_stage={list(teacher_stage)} differ in length')
    for owner, model, wanted in (('', student, stages), ('teacher_', teacher, teacher_stage)):
        available = num_stages(model) or 1
        if not all(0 <= index < available for index in wanted):
            raise ValueError(
                f'{owner}stage must lie in [0, {available}) for {_kind(model)}, got {list(wanted)}'
            )
    return list(zip(stages, teacher_stage))


def _roi_head(model: Any) -> Any:
    return model.get('roi_head') if isinstance(model, Mapping) else getattr(model, 'roi_head', None)


def _coding(head: nn.Module) -> dict[str, Any]:
    """Meaning of the offsets of a box head."""
    coder = head.bbox_coder
    return dict(
        type=type(coder).__name__,
        means=tuple(getattr(coder, 'means', ())),
        stds=tuple(getattr(coder, 'stds', ())),
        reg_class_agnostic=head.reg_class_agnostic,
    )


def _kind(model: Any) -> str:
    head = _roi_head(model)
    return str(head.get('type')) if isinstance(head, Mapping) else type(head).__name__


def _of_stage(part: nn.Module, stage: int) -> nn.Module:
    return part[stage] if isinstance(part, nn.ModuleList) else part
