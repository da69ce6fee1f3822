"""RoI heads: their parts, with or without stages, and their output on given RoIs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads import SparseRoIHead
from torch import Tensor, nn

from wkd_det.detection.pooling import LevelRows, pooled, shared_levels
from wkd_det.distillation.empty import empty_copy


def is_sparse(roi_head: nn.Module) -> bool:
    """Whether the box head reads features that its proposals carry along (Sparse R-CNN)."""
    return isinstance(roi_head, SparseRoIHead)


def can_record(roi_head: nn.Module) -> bool:
    """Whether the head has a ``bbox_loss`` that can be recorded."""
    bbox_loss = getattr(roi_head, 'bbox_loss', None)
    if bbox_loss is None:
        return False
    return is_sparse(roi_head) or 'sampling_results' in inspect.signature(bbox_loss).parameters


def require_roi_head(model: nn.Module, owner: str) -> None:
    """Refuse detectors without a second stage.

    Args:
        model: A detector.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: Naming the detector.
    """
    if getattr(model, 'roi_head', None) is None:
        raise ValueError(
            f'the {owner} {type(model).__name__} has no RoI head: use the tap neck or backbone'
        )


def box_head(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The box head of a stage."""
    require_roi_head(model, owner)
    return of_stage(model.roi_head.bbox_head, stage)


def roi_extractor(model: nn.Module, stage: int, owner: str) -> nn.Module:
    """The RoI extractor of a stage."""
    require_roi_head(model, owner)
    return of_stage(model.roi_head.bbox_roi_extractor, stage)


@dataclass
class HeadOutput:
    """Output of a box head on RoIs, row by row."""

    logits: Tensor
    """Shape ``(R, K + 1)``."""
    offsets: Tensor | None
    """Box offsets, shape ``(R, 4 K)``, or ``(R, 4)`` where they are the same for all classes.

    None of heads that give boxes instead."""


def run_box_head(
    model: nn.Module,
    maps: tuple[Tensor, ...],
    rois: Tensor,
    stage: int = 0,
    rows: LevelRows | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> HeadOutput:
    """Output of the box head of a stage on given RoIs; the logits as the head gives them.

    Args:
        model: A two-stage detector.
        maps: Maps that its RoIs are read from, those of its neck if it has one.
        rois: Shape ``(R, 5)``.
        stage: Stage of a Cascade; other heads have stage 0 only.
        rows: Rows of the RoIs by level, where others have the same RoIs.
        context: Result of :func:`image_context`, where it was asked before.
    """
    roi_head = model.roi_head
    staged = isinstance(roi_head.bbox_head, nn.ModuleList)
    extractors = [of_stage(roi_head.bbox_roi_extractor, stage)]
    if context is None:
        context = image_context(roi_head, maps)
    if 'semantic_feat' in context:
        extractors.append(roi_head.semantic_roi_extractor)
    with ExitStack() as stack:
        for extractor in extractors if rows is not None else ():
            stack.enter_context(shared_levels(extractor, rows))
        result = roi_head._bbox_forward(*((stage,) if staged else ()), maps, rois, **context)
    return HeadOutput(logits=result['cls_score'], offsets=result['bbox_pred'])


def image_context(roi_head: nn.Module, maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Features of whole images that a box head adds to those of RoIs, as arguments by name.

    They come from the semantic branch of an HTC and from the global context of an SCNet.

    Args:
        roi_head: Any RoI head; most have none.
        maps: Maps of the neck, all levels.
    """
    context = {}
    if getattr(roi_head, 'with_semantic', False):
        _, context['semantic_feat'] = roi_head.semantic_head(maps)
    if getattr(roi_head, 'with_glbctx', False):
        _, context['glbctx_feat'] = roi_head.glbctx_head(maps)
    return context


def run_sparse_head(
    model: nn.Module, maps: tuple[Tensor, ...], rois: Iterable[Tensor], rows: LevelRows
) -> Iterator[Tensor]:
    """Class logits of a Sparse R-CNN's stages, from the first on, on given RoIs.

    Each stage reads features that the stage before has made of the same proposals; the first
    reads those that were learned.

    Args:
        model: A Sparse R-CNN or QueryInst.
        maps: Maps of its neck.
        rois: For each stage the RoIs ``(N P, 5)``, those of an image in the order of the ``P``
            learned proposals.
        rows: Rows of the RoIs by level, where others have the same RoIs.

    Yields:
        Shape ``(N P, K)`` for each stage, as the heads give them; a stage runs when it is asked
        for.
    """
    roi_head, learned = model.roi_head, model.rpn_head.init_proposal_features.weight
    features = learned.expand(len(maps[0]), *learned.shape)
    for extractor, head, boxes in zip(roi_head.bbox_roi_extractor, roi_head.bbox_head, rois):
        scores, _, features, _ = head(pooled(rows, extractor, maps, boxes), features)
        yield scores.flatten(0, -2)


def require_own_rois(student: nn.Module, teacher: nn.Module, pairs: Sequence[tuple]) -> None:
    """Refuse a teacher whose box head cannot be run on the student's RoIs.

    Args:
        student: A two-stage detector.
        teacher: Another one; both may be on the meta device.
        pairs: Stages of both that are compared.

    Raises:
        ValueError: If the teacher is a Sparse R-CNN and the student's proposals are not like its
            own, or if it is a head that asks for something unknown.
    """
    if not is_sparse(teacher.roi_head):
        _require_known_arguments(teacher.roi_head, 'teacher')
        return
    kind, count = type(teacher).__name__, teacher.rpn_head.num_proposals
    if not is_sparse(student.roi_head) or student.rpn_head.num_proposals != count:
        raise ValueError(
            f'the box head of the teacher {kind} reads the features of its own {count} proposals, '
            'so it can teach a detector of the same kind with as many: use the tap roi_feats, neck '
            'or backbone'
        )
    if any(own != other for own, other in pairs):
        raise ValueError(
            f'each stage of the teacher {kind} follows from the stages before it: compare equal '
            f'stages, got {[own for own, _ in pairs]} and {[other for _, other in pairs]}'
        )


def require_plain_forward(model: nn.Module, owner: str) -> None:
    """Refuse detectors whose box head wants more than maps of RoIs' levels and RoIs.

    Raises:
        ValueError: Naming the head.
    """
    roi_head = model.roi_head
    _require_known_arguments(roi_head, owner)
    more = [name for name in ('with_semantic', 'with_glbctx') if getattr(roi_head, name, False)]
    if is_sparse(roi_head) or more:
        raise ValueError(
            f'the box head of the {owner} {type(roi_head).__name__} needs more than feature maps '
            "and RoIs, so it cannot read another network's maps: use the tap roi_logits, "
            'roi_feats, neck or backbone'
        )


def _require_known_arguments(roi_head: nn.Module, owner: str) -> None:
    if is_sparse(roi_head):
        return
    parameters = inspect.signature(roi_head._bbox_forward).parameters.values()
    needed = {one.name for one in parameters if one.default is one.empty}
    if needed - {'stage', 'x', 'rois'}:
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
    rule = 'box offsets need a head that gives four per RoI or per class'
    if is_sparse(model.roi_head):
        raise ValueError(f'{rule}: the {type(head).__name__} of the {owner} gives boxes')
    extractor = roi_extractor(model, stage, owner)
    size = extractor.roi_layers[0].output_size
    features = torch.zeros(1, extractor.out_channels, *size, device='meta')
    try:
        with torch.no_grad():
            if model.roi_head.with_shared_head:
                features = empty_copy(model.roi_head.shared_head)(features)
            _, offsets = empty_copy(head)(features)
    except (NotImplementedError, RuntimeError, TypeError):
        return
    widths = (4, 4 * head.num_classes)
    if not isinstance(offsets, Tensor) or offsets.shape[1] not in widths:
        found = tuple(offsets.shape) if isinstance(offsets, Tensor) else type(offsets).__name__
        raise ValueError(f'{rule}: the {type(head).__name__} of the {owner} gives a {found}')


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


def num_stages(model: nn.Module) -> int | None:
    """Stages of a Cascade; None for other heads."""
    return getattr(getattr(model, 'roi_head', None), 'num_stages', None)


def stage_pairs(
    student: nn.Module,
    teacher: nn.Module,
    stage: int | Sequence[int] | None,
    teacher_stage: int | Sequence[int] | None,
) -> list[tuple[int, int]]:
    """Pairs of stages to compare: one of the student, one of the teacher.

    Nothing is guessed: a head with stages needs ``stage``, and a teacher with other stages than
    the student needs ``teacher_stage``.

    Args:
        student: A detector.
        teacher: Another one; both may be on the meta device.
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
                f'{owner}stage must lie in [0, {available}) for {type(model.roi_head).__name__}, '
                f'got {list(wanted)}'
            )
    return list(zip(stages, teacher_stage))


def _coding(head: nn.Module) -> dict[str, Any]:
    """Meaning of the offsets of a box head."""
    coder = head.bbox_coder
    return dict(
        type=type(coder).__name__,
        means=tuple(getattr(coder, 'means', ())),
        stds=tuple(getattr(coder, 'stds', ())),
        reg_class_agnostic=head.reg_class_agnostic,
    )


def of_stage(part: nn.Module, stage: int) -> nn.Module:
    """A part of a RoI head that a Cascade has once per stage."""
    return part[stage] if isinstance(part, nn.ModuleList) else part
