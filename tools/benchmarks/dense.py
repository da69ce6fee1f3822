"""``benchmark.py dense``: losses on the logits of dense heads, next to the binary divergence."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import Verdict, at_most, format_table, format_verdicts
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from wkd_det import losses
from wkd_det.detection.dense import DenseOutput
from wkd_det.detection.dense_places import DensePlaces
from wkd_det.detection.taps.dense import DenseLogitsTap
from wkd_det.functional import cosine_interrelation, wkd_sigmoid_loss

_KD = 'SigmoidKDLoss'
_WKD = 'WKDSigmoidLoss'
_SIZE, _IMAGES, _CLASSES = (800, 1344), 2, 80
"""Size of images of 800 x 1333, padded to a multiple of 32."""
_STRIDES = (8, 16, 32, 64, 128)
_POSITIVES, _TOP = 60, 100
"""Places for each image: as many as ATSS assigns to seven objects."""
_CHOICES = {
    'positives': dict(places='positives', weigh_by='teacher', average='weights'),
    'top': dict(places='top', top=_TOP, average='places'),
}
_ROUNDS = ((0.05, 5), (0.05, 10), (0.1, 5), (0.15, 5), (0.15, 10))
_MANY_ROUNDS = 1000
_MOST = 1.3
"""How much longer than the binary divergence the transport may take."""


def benchmark_dense(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Time the terms, from the maps of both heads to the gradient of the student's, and the losses.

    Args:
        repeats: Least number of timed rounds.
        quick: Use small images and few classes.

    Returns:
        One dict for each choice of places, of a whole term and of the loss alone: ``case``,
        ``forms`` (``seconds``, ``ratio`` to the binary divergence), ``verdicts`` of the terms. The
        last one: ``rounds``, how far WKD-L is from what it converges to.
    """
    size, classes = ((64, 96), 5) if quick else (_SIZE, _CLASSES)
    generator = torch.Generator().manual_seed(0)
    maps = _maps(size, classes, generator)
    rows = torch.randn(classes, 256, generator=generator)
    kinds = _losses(1 - cosine_interrelation(rows))
    cases = []
    for choice, options in _CHOICES.items():
        tap = DenseLogitsTap(**options)
        (pair,) = _read(tap, maps)
        count = len(pair['student'])
        whole = {name: partial(_whole_term, tap, loss, maps) for name, loss in kinds.items()}
        alone = {name: partial(_loss_alone, loss, pair) for name, loss in kinds.items()}
        for part, runs in (('whole term', whole), ('loss alone', alone)):
            seconds = time_in_turns(runs, repeats=repeats, clock=time.process_time)
            forms = {
                name: dict(seconds=spread(values), ratio=pairwise_ratio(values, seconds[_KD]))
                for name, values in seconds.items()
            }
            label = f'{choice}, {part}, {count} places, {classes} classes'
            verdicts = [_verdict(label, forms)] if part == 'whole term' else []
            cases.append(dict(case=label, forms=forms, verdicts=verdicts))
    cases.append(_of_rounds(kinds[_WKD], classes, generator))
    return cases


def format_dense(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_dense` and what is required."""
    parts = []
    *timed, last = cases
    for case in timed:
        rows = [
            [
                name,
                f'{1e3 * form["seconds"].median:.2f}',
                f'{form["ratio"].median:.2f}',
                f'{form["ratio"].low:.2f} .. {form["ratio"].high:.2f}',
            ]
            for name, form in case['forms'].items()
        ]
        parts.append(f'{case["case"]}\n' + format_table(['loss', 'ms', 'ratio', 'range'], rows))
    rows = [
        [one['epsilon'], one['rounds'], f'{one["value"]:.1%}', f'{one["cosine"]:.3f}']
        for one in last['rounds']
    ]
    header = ['epsilon', 'rounds', 'value off by', 'cosine of gradients']
    parts.append(f'{last["case"]}\n' + format_table(header, rows))
    verdicts = [verdict for case in cases for verdict in case['verdicts']]
    return '\n\n'.join([*parts, format_verdicts(verdicts)])


def _losses(distance: Tensor) -> dict[str, torch.nn.Module]:
    distance = (distance / distance.max()).clamp(min=0).fill_diagonal_(0)
    return {
        _KD: losses.SigmoidKDLoss(),
        'QualityFocalKDLoss': losses.QualityFocalKDLoss(),
        _WKD: losses.WKDSigmoidLoss(cost=(distance + distance.T) / 2),
    }


def _of_rounds(
    loss: losses.WKDSigmoidLoss, classes: int, generator: torch.Generator
) -> dict[str, Any]:
    """Value and gradient after few rounds, relative to those after many."""
    shape, places = (200, classes), torch.arange(200)
    labels = torch.randint(classes, (200,), generator=generator)
    student, teacher = (
        torch.randn(shape, generator=generator).double() * 1.5 - 6 for _ in range(2)
    )
    for logits, most in ((student, 7), (teacher, 8)):  # each sees an object, more or less
        logits[places, labels] += most * torch.rand(200, generator=generator)
    cost = loss.transport.cost.double()

    def run(epsilon: float, rounds: int) -> tuple[Tensor, Tensor]:
        own = student.clone().requires_grad_()
        value = wkd_sigmoid_loss(own, teacher, cost, epsilon=epsilon, num_iters=rounds)
        (slope,) = torch.autograd.grad(value, own)
        return value.detach(), slope.flatten()

    found = []
    for epsilon, rounds in _ROUNDS:
        (value, slope), (limit, true) = run(epsilon, rounds), run(epsilon, _MANY_ROUNDS)
        off = abs(value / limit - 1).item()
        cosine = torch.cosine_similarity(slope, true, dim=0).item()
        found.append(dict(epsilon=epsilon, rounds=rounds, value=off, cosine=cosine))
    return dict(case=f'{_WKD} against {_MANY_ROUNDS} rounds', rounds=found, verdicts=[])


def _maps(
    size: tuple[int, int], classes: int, generator: torch.Generator
) -> dict[str, list[Tensor]]:
    """Logits of both heads on all levels, as a trained head has them, and the positives."""
    sizes = [tuple(-(-length // stride) for length in size) for stride in _STRIDES]
    maps: dict[str, list[Tensor]] = {
        owner: [torch.randn(_IMAGES, classes, *one, generator=generator) * 1.5 - 6 for one in sizes]
        for owner in ('student', 'teacher')
    }
    places = sum(height * width for height, width in sizes)
    share = _POSITIVES / places
    maps['foreground'] = [
        torch.rand(_IMAGES, 1, *one, generator=generator) < share for one in sizes
    ]
    return maps


def _read(tap: DenseLogitsTap, maps: dict[str, list[Tensor]]) -> list[dict[str, Any]]:
    own, other = (
        DenseOutput([one[:, None] for one in maps[owner]], None, None)
        for owner in ('student', 'teacher')
    )
    places = DensePlaces(own, other, [None] * len(_STRIDES), maps['foreground'])
    return tap.read(SimpleNamespace(), SimpleNamespace(once=lambda key, make: places), ())


def _whole_term(
    tap: DenseLogitsTap, loss: Callable[..., Tensor], maps: dict[str, list[Tensor]]
) -> None:
    leaves = [one.requires_grad_() for one in maps['student']]
    (pair,) = _read(tap, maps)
    torch.autograd.grad(loss(**pair), leaves)


def _loss_alone(loss: Callable[..., Tensor], pair: dict[str, Any]) -> None:
    student = pair['student'].detach().requires_grad_()
    torch.autograd.grad(loss(**{**pair, 'student': student}), student)


def _verdict(label: str, forms: dict[str, Any]) -> Verdict:
    return at_most(f'{label}: {_WKD} to {_KD}', forms[_WKD]['ratio'].median, _MOST)
