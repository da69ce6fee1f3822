"""Part ``losses``: seconds, launches, memory and waits at sizes of COCO and ImageNet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.direct_transcription import direct_feature_loss, direct_logit_loss
from benchmarks.losses import logit_problem, value_and_gradient
from gpu_check.measuring import Meter, Run
from gpu_check.notes import Notes
from wkd_det.functional import (
    dkd_loss,
    fitnet_loss,
    hierarchical_context_loss,
    kd_loss,
    wkd_feature_loss,
    wkd_logit_loss,
)
from wkd_det.ops.fused.switch import MOST_CLASSES, fused_kernels, takes_fused

_NEEDED = 5.0
"""Seconds without which no other form is measured."""


class LogitSize(NamedTuple):
    """Logits of a batch."""

    title: str
    samples: int
    classes: int
    temperature: float


class MapSize(NamedTuple):
    """Feature maps of a batch, one per level."""

    title: str
    shapes: list[tuple[int, int, int, int]]
    grid: int
    """Cells along each axis of WKD-F."""


LOGITS = [
    LogitSize('RoIs of 2 images of COCO', 1024, 81, 1.0),
    LogitSize('RoIs of 8 images of COCO', 4096, 81, 1.0),
    LogitSize('256 images of ImageNet', 256, 1000, 2.0),
]
MAPS = [
    MapSize('RoIs of 2 images of COCO', [(1024, 256, 18, 18)], 4),
    MapSize('last map of 256 images of ImageNet', [(256, 512, 7, 7)], 4),
]
PYRAMIDS = [
    MapSize(
        'pyramid of 2 images of COCO',
        [(2, 256, -(-800 // stride), -(-1344 // stride)) for stride in (4, 8, 16, 32, 64)],
        0,
    ),
    MapSize(
        'stages of 256 images of ImageNet',
        [(256, 64 * 2**stage, 56 // 2**stage, 56 // 2**stage) for stage in range(4)],
        0,
    ),
]
_TINY_LOGITS = [LogitSize('a few logits', 24, 21, 1.0)]
_TINY_MAPS = [MapSize('small maps', [(4, 8, 18, 18)], 4)]
_TINY_PYRAMIDS = [MapSize('small pyramid', [(2, 8, 16, 16), (2, 8, 8, 8)], 0)]


def check_losses(notes: Notes, meter: Meter) -> None:
    """Measure forward and backward of each loss at each size.

    Notes by size and loss what :meth:`gpu_check.measuring.Meter.all_of` gives.
    """
    for title, runs in _tables(meter):
        for name, make in runs:
            with notes.trying(title, name):
                notes.check(0 if meter.brief else _NEEDED)
                notes.add(title, name, **meter.all_of(make()))
        if meter.is_gpu:
            torch.cuda.empty_cache()


def _tables(meter: Meter) -> Iterator[tuple[str, Iterator[tuple[str, Callable[[], Run]]]]]:
    """Yield a title and makers of calls by name; a call takes memory from when it is made."""
    for size in _TINY_LOGITS if meter.brief else LOGITS:
        title = f'{size.title}: logits {size.samples} x {size.classes}'
        yield title, _of_logits(size, meter.device)
    halves = (torch.float32, torch.float16) if meter.is_gpu else (torch.float32,)
    for size in _TINY_MAPS if meter.brief else MAPS:
        for dtype in halves:
            title = f'{size.title}: maps {_text(size.shapes[0])}, {_name(dtype)}'
            yield title, _of_maps(size, meter.device, dtype)
    for size in _TINY_PYRAMIDS if meter.brief else PYRAMIDS:
        for dtype in halves:
            title = f'{size.title}: {len(size.shapes)} maps from {_text(size.shapes[0])} on'
            yield f'{title}, {_name(dtype)}', _of_pyramids(size, meter.device, dtype)


def _of_logits(size: LogitSize, device: torch.device) -> Iterator[tuple[str, Callable[[], Run]]]:
    problem = logit_problem(size.samples, size.classes)
    student, teacher, cost, target = (tensor.to(device) for tensor in problem)
    ours = partial(wkd_logit_loss, temperature=size.temperature)
    direct = partial(direct_logit_loss, temperature=size.temperature)
    kd = partial(kd_loss, temperature=size.temperature)
    for name, loss, others in (
        ('KD', kd, (teacher,)),
        ('DKD', dkd_loss, (teacher, target)),
        ('WKD-L', ours, (teacher, cost, target)),
        ('WKD-L, 20 rounds', partial(ours, num_iters=20), (teacher, cost, target)),
        ('WKD-L, direct form', direct, (teacher, cost, target)),
    ):
        yield name, partial(partial, value_and_gradient, loss, student, *others)
    if size.classes <= MOST_CLASSES and _has_fused(student):
        arguments = (partial(_fused, ours), student, teacher, cost, target)
        yield 'WKD-L, fused', partial(partial, value_and_gradient, *arguments)


def _of_maps(
    size: MapSize, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Callable[[], Run]]]:
    (shape,) = size.shapes
    maps = [_randn(shape, device, dtype, seed) for seed in (0, 1)]
    options = dict(grid=size.grid, mean_cov_ratio=2.0)
    forms: dict[str, Callable[..., Tensor]] = {
        'L2 (FitNet)': fitnet_loss,
        'WKD-F': partial(wkd_feature_loss, **options),
        'WKD-F, cell by cell': partial(direct_feature_loss, **options),
    }
    if _has_fused(maps[0]):
        forms['WKD-F, fused'] = partial(_fused, forms['WKD-F'])
    for name, loss in forms.items():
        yield name, partial(partial, value_and_gradient, loss, *maps)
    yield 'one addition of the maps', lambda: partial(torch.add, *maps)


def _of_pyramids(
    size: MapSize, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Callable[[], Run]]]:
    maps = [[_randn(shape, device, dtype, seed) for shape in size.shapes] for seed in (0, 1)]
    yield 'ReviewKD', lambda: partial(_pyramid_step, hierarchical_context_loss, *maps)


def _has_fused(tensor: Tensor) -> bool:
    with fused_kernels(True):
        return takes_fused(tensor)


def _fused(loss: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    with fused_kernels(True):
        return loss(*arguments)


def _pyramid_step(
    loss: Callable[..., Tensor], student: list[Tensor], teacher: list[Tensor]
) -> None:
    leaves = [features.detach().requires_grad_() for features in student]
    torch.autograd.grad(loss(leaves, teacher), leaves)


def _randn(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)


def _text(shape: tuple[int, ...]) -> str:
    return ' x '.join(map(str, shape))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')
