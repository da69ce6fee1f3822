"""``benchmark.py step``: a distilled training step against the work that no method can avoid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.networks import ROOT, plain_student, training_step, untrained
from benchmarks.report import at_most, format_table, format_verdicts
from benchmarks.timing import spread, time_in_turns
from wkd_det.detection.heads import run_box_head
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.runtime.config import read_config
from wkd_det.testing.detectors import random_batch

_MINI = 'configs/mini/wkd-lf.py'
_COCO = 'configs/detection/wkd-lf_faster-rcnn_r101-to-r18_1x.py'
_R50 = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

_UNAVOIDABLE = ('student step', 'teacher on the same RoIs', 'RoIAlign and connector')


class Pair(NamedTuple):
    """Student and teacher with WKD-L + WKD-F, and the images of a step."""

    title: str
    config: Path
    sizes: list[tuple[int, int]]
    teacher: str | None = None
    """Config of the teacher, instead of the one that the config names."""


def benchmark_step(
    *, repeats: int, quick: bool = False, max_ratio: float = 1.10
) -> list[dict[str, Any]]:
    """Time the distilled step and its parts.

    Weights are random and the images noise: both cost what trained weights and photographs do.
    The learning rate is 0, so every round does the same work on the same RoIs.

    Args:
        repeats: Least number of timed rounds.
        quick: Measure the mini pair alone, on two small images.
        max_ratio: Required bound of the step over the sum of its unavoidable parts.

    Returns:
        A dict per pair: ``case``, ``parts`` (seconds by name), ``ratio``, ``verdicts``.
    """
    mini = Pair('mini pair, 16 images of 96 x 96', ROOT / _MINI, [(96, 96)] * 16)
    if quick:
        pairs = [Pair('mini pair, 2 images of 64 x 64', ROOT / _MINI, [(64, 64)] * 2)]
    else:
        pairs = [
            mini,
            Pair('R-50 to R-18, 1 image of 320 x 320', ROOT / _COCO, [(320, 320)], _R50),
        ]
    return [_case(pair, repeats, max_ratio) for pair in pairs]


def format_step(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_step`."""
    return '\n\n'.join(_format_case(case) for case in cases)


def _case(pair: Pair, repeats: int, max_ratio: float) -> dict[str, Any]:
    seconds = time_in_turns(_runs(pair), repeats=repeats)
    sums = [sum(values) for values in zip(*(seconds[name] for name in _UNAVOIDABLE))]
    ratio = spread([step / whole for step, whole in zip(seconds['distilled step'], sums)])
    return dict(
        case=pair.title,
        parts={name: spread(values) for name, values in [*seconds.items(), ('their sum', sums)]},
        ratio=ratio,
        verdicts=[at_most('times the sum of the unavoidable parts', ratio.median, max_ratio)],
    )


def _runs(pair: Pair) -> dict[str, Callable[[], Any]]:
    config = read_config(pair.config)
    distilled = untrained(config, teacher=pair.teacher)
    plain = plain_student(config, distilled)
    teacher = distilled.distiller.teacher.module
    data = random_batch(pair.sizes, num_classes=plain.roi_head.bbox_head.num_classes)
    student = _recorded(plain, data)
    with torch.no_grad():
        teacher_maps = teacher.neck(teacher.backbone(student.inputs))
    rois = student.stage(0).rois
    loss_inputs = _loss_inputs(distilled, student, teacher_maps)
    return {
        'distilled step': training_step(distilled, config, data),
        'student step': training_step(plain, config, data),
        'teacher on the same RoIs': partial(_teacher, teacher, student.inputs, rois),
        'RoIAlign and connector': partial(
            _pool, distilled, student.maps('neck'), teacher_maps, rois
        ),
        'losses alone': partial(_losses, distilled, loss_inputs),
    }


def _recorded(plain: nn.Module, data: dict[str, Any]) -> DetectorStudentView:
    """Return the record of a step of the student."""
    data = plain.data_preprocessor(data, training=True)
    view = DetectorStudentView(plain, data['inputs'], data['data_samples'])
    torch.manual_seed(0)
    with view.recording():
        plain.loss(data['inputs'], data['data_samples'])
    return view


@torch.no_grad()
def _teacher(teacher: nn.Module, inputs: Tensor, rois: Tensor) -> None:
    run_box_head(teacher, teacher.neck(teacher.backbone(inputs)), rois, 0)


def _pool(
    distilled: nn.Module,
    student_maps: tuple[Tensor, ...],
    teacher_maps: tuple[Tensor, ...],
    rois: Tensor,
) -> None:
    """Do the work of the tap ``roi_feats`` with its connector on the maps, both ways."""
    term = distilled.distiller.terms['loss_wkd_f']
    (pooler,), (connector,) = term.tap.poolers, term.connectors
    with torch.no_grad():
        pooler.teacher(teacher_maps[: pooler.teacher.num_inputs], rois)
    maps = [features.detach().requires_grad_() for features in student_maps]
    maps = maps[: pooler.student.num_inputs]
    pooled = pooler.student(tuple(connector(features) for features in maps), rois)
    torch.autograd.grad(pooled, [*maps, *connector.parameters()], torch.ones_like(pooled))


def _loss_inputs(
    distilled: nn.Module, student: DetectorStudentView, teacher_maps: tuple[Tensor, ...]
) -> dict[str, dict[str, Tensor]]:
    """Return the arguments of each term's loss, the student's a leaf."""
    recorded = student.stage(0)
    pooler = distilled.distiller.terms['loss_wkd_f'].tap.poolers[0].teacher
    with torch.no_grad():
        head = run_box_head(distilled.distiller.teacher.module, teacher_maps, recorded.rois, 0)
        features = pooler(teacher_maps[: pooler.num_inputs], recorded.rois)
    pairs = dict(
        loss_wkd_l=dict(student=recorded.logits, teacher=head.logits, target=recorded.labels),
        loss_wkd_f=dict(student=features.flip(0), teacher=features),
    )
    return {
        name: dict(pair, student=pair['student'].detach().requires_grad_())
        for name, pair in pairs.items()
    }


def _losses(distilled: nn.Module, pairs: dict[str, dict[str, Tensor]]) -> None:
    for name, pair in pairs.items():
        value = distilled.distiller.terms[name].loss(**pair)
        torch.autograd.grad(value, pair['student'])


def _format_case(case: dict[str, Any]) -> str:
    whole = case['parts']['their sum'].median
    rows = [
        [
            name,
            f'{1e3 * seconds.median:.1f}',
            f'{1e3 * seconds.low:.1f} .. {1e3 * seconds.high:.1f}',
            f'{seconds.median / whole:.3f}',
        ]
        for name, seconds in case['parts'].items()
    ]
    ratio = case['ratio']
    return '\n'.join(
        [
            case['case'],
            format_table(['part', 'ms', 'range', '/ sum'], rows),
            f'distilled step / sum, round by round: {ratio.median:.3f} '
            f'({ratio.low:.3f} .. {ratio.high:.3f})',
            format_verdicts(case['verdicts']),
        ]
    )
