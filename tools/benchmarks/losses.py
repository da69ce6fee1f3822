"""``benchmark.py losses``: the losses against the formulas taken literally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.direct_transcription import direct_feature_loss, direct_logit_loss
from benchmarks.memory import peak_extra_bytes
from benchmarks.report import Verdict, at_least, at_most, format_table, format_verdicts
from benchmarks.timing import pairwise_ratio, spread, time_in_turns
from wkd_det.functional import (
    cosine_interrelation,
    interrelation_to_cost,
    wkd_feature_loss,
    wkd_logit_loss,
)

_BARE_PRODUCTS = 42
"""Products of a loss with 10 rounds: 2 per round and 1 at the end, and as many backwards."""
_VALUE_TOLERANCE = 1e-5
"""Relative; both forms work in float32 and sum in another order."""
_GRADIENT_TOLERANCE = 1e-4
"""Relative to the largest entry, as for the golden values."""

Run = Callable[[], Any]


class LogitProblem(NamedTuple):
    """Arguments of WKD-L."""

    student: Tensor
    teacher: Tensor
    cost: Tensor
    target: Tensor


def benchmark_losses(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Measure all cases of this benchmark.

    Args:
        repeats: Least number of timed rounds.
        quick: Use small sizes, for which the required figures are not meant.

    Returns:
        A dict per case: ``case``, ``forms`` (``form``, ``seconds``, ``ratio``, ``extra_bytes``),
        ``agreement`` or None, ``verdicts``.
    """
    detection, imagenet = ((64, 21), (16, 100)) if quick else ((1024, 81), (128, 1000))
    batch = (32, 100) if quick else (256, 1000)
    maps = (8, 8, 18, 18) if quick else (512, 256, 18, 18)
    return [
        _logit_case(*detection, speedup=20.0, repeats=repeats),
        _logit_case(*imagenet, speedup=50.0, repeats=repeats),
        _product_case(*batch, repeats=repeats),
        _feature_case(maps, grid=4, speedup=2.0, repeats=repeats),
    ]


def format_losses(cases: list[dict[str, Any]]) -> str:
    """Return the tables of :func:`benchmark_losses`."""
    return '\n\n'.join(_format_case(case) for case in cases)


def logit_problem(samples: int, classes: int, *, seed: int = 0) -> LogitProblem:
    """Return random logits and labels, and a class cost as a classifier's rows give it."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(classes, 64, generator=generator)
    return LogitProblem(
        student=2 * torch.randn(samples, classes, generator=generator),
        teacher=2 * torch.randn(samples, classes, generator=generator),
        cost=interrelation_to_cost(cosine_interrelation(rows), sharpness=2.0),
        target=torch.randint(0, classes, (samples,), generator=generator),
    )


def value_and_gradient(
    loss: Callable[..., Tensor], student: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient with respect to the student."""
    student = student.detach().requires_grad_()
    value = loss(student, *others)
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient


def kl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss of plain knowledge distillation at temperature 1."""
    return F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction='batchmean')


def _logit_case(samples: int, classes: int, *, speedup: float, repeats: int) -> dict[str, Any]:
    problem = logit_problem(samples, classes)
    runs = dict(
        ours=partial(value_and_gradient, partial(wkd_logit_loss, temperature=1.0), *problem),
        direct=partial(value_and_gradient, direct_logit_loss, *problem),
        KL=partial(value_and_gradient, kl_loss, *problem[:2]),
    )
    case = _measure(f'WKD-L, N x C = {samples} x {classes}', runs, repeats=repeats)
    case['agreement'], agrees = _agreement(runs['ours'], runs['direct'])
    extra = case['forms']['direct']['extra_bytes'] / case['forms']['ours']['extra_bytes']
    case['verdicts'] = [
        agrees,
        at_least('times faster than direct', case['forms']['direct']['ratio'].median, speedup),
        at_least('times less extra memory than direct', extra, 20.0),
    ]
    return case


def _product_case(samples: int, classes: int, *, repeats: int) -> dict[str, Any]:
    problem = logit_problem(samples, classes)
    runs = {
        'ours': partial(value_and_gradient, partial(wkd_logit_loss, temperature=1.0), *problem),
        f'{_BARE_PRODUCTS} products': partial(_bare_products, problem.student, problem.cost),
        'KL': partial(value_and_gradient, kl_loss, *problem[:2]),
    }
    case = _measure(f'WKD-L, N x C = {samples} x {classes}', runs, repeats=repeats)
    ratio = 1 / case['forms'][f'{_BARE_PRODUCTS} products']['ratio'].median
    case['verdicts'] = [at_most(f'times the {_BARE_PRODUCTS} bare products', ratio, 1.5)]
    return case


def _feature_case(
    shape: tuple[int, ...], *, grid: int, speedup: float, repeats: int
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(shape, generator=generator) for _ in range(2)]
    runs = dict(
        ours=partial(value_and_gradient, partial(wkd_feature_loss, grid=grid), *maps),
        loop=partial(value_and_gradient, partial(direct_feature_loss, grid=grid), *maps),
    )
    size = ' x '.join(str(length) for length in shape)
    case = _measure(f'WKD-F, N x C x H x W = {size}, grid {grid}', runs, repeats=repeats)
    case['agreement'], agrees = _agreement(runs['ours'], runs['loop'])
    faster = case['forms']['loop']['ratio'].median
    extra = case['forms']['ours']['extra_bytes'] / case['forms']['loop']['extra_bytes']
    case['verdicts'] = [
        agrees,
        at_least('times faster than the loop over cells', faster, speedup),
        at_most('times the extra memory of the loop', extra, 1.0),
    ]
    return case


def _bare_products(left: Tensor, right: Tensor) -> None:
    """Compute as many products as a loss needs, into memory that is there already."""
    out = torch.empty_like(left)
    for index in range(_BARE_PRODUCTS):
        torch.mm(left, right.t() if index % 2 else right, out=out)


def _measure(title: str, runs: Mapping[str, Run], *, repeats: int) -> dict[str, Any]:
    """Measure times, ratios to ours and, in runs of its own, memory: the profiler is slow."""
    seconds = time_in_turns(runs, repeats=repeats)
    forms = {
        name: dict(
            seconds=spread(values),
            ratio=pairwise_ratio(values, seconds['ours']),
            extra_bytes=peak_extra_bytes(runs[name]),
        )
        for name, values in seconds.items()
    }
    return dict(case=title, forms=forms, agreement=None)


def _agreement(ours: Run, other: Run) -> tuple[dict[str, float], Verdict]:
    """Return relative differences of value and gradient, and whether they are rounding."""
    value, gradient = ours()
    other_value, other_gradient = other()
    scale = other_gradient.abs().max()
    differences = dict(
        value=((value - other_value).abs() / other_value.abs()).item(),
        gradient=((gradient - other_gradient).abs().max() / scale).item(),
    )
    worst = max(
        differences['value'] / _VALUE_TOLERANCE, differences['gradient'] / _GRADIENT_TOLERANCE
    )
    return differences, at_most('value and gradient differ, in tolerances', worst, 1.0)


def _format_case(case: dict[str, Any]) -> str:
    rows = []
    for name, form in case['forms'].items():
        seconds, ratio = form['seconds'], form['ratio']
        rows.append(
            [
                name,
                f'{1e3 * seconds.median:.2f}',
                f'{1e3 * seconds.low:.2f} .. {1e3 * seconds.high:.2f}',
                f'{ratio.median:.3g}',
                f'{ratio.low:.3g} .. {ratio.high:.3g}',
                f'{form["extra_bytes"] / 2**20:.2f}',
            ]
        )
    header = ['forward + backward', 'ms', 'range', '/ ours', 'range', 'extra MiB']
    parts = [case['case'], format_table(header, rows)]
    if case['agreement'] is not None:
        differences = ', '.join(f'{key} {x:.1e}' for key, x in case['agreement'].items())
        parts.append(f'relative difference of the two forms: {differences}')
    return '\n'.join([*parts, format_verdicts(case['verdicts'])])
