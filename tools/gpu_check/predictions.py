"""Predictions about GPUs, written down before anybody had measured: met, not met, not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gpu_check.names import BOTH, KD, WKD_L, found_in

MET, NOT_MET, NOT_MEASURED = 'met', 'not met', 'not measured'
_LOGITS_BELOW = 0.03
_DISTILLED_FROM, _DISTILLED_TO = 1.3, 1.6
_ERROR_BELOW = 1e-5
_STEPS = (('classifiers', 'batch 256'), ('detectors', 'batch 2'), ('detectors', 'batch 8'))


class Prediction(NamedTuple):
    """A figure that was expected, and the measured one."""

    what: str
    expected: str
    measured: float | None
    verdict: str


def judge(results: Mapping[str, Any]) -> list[Prediction]:
    """Compare results with what was predicted.

    Predictions are of GPUs at full size: figures of a CPU, or of small sizes, measure none.

    Args:
        results: Those of ``check_gpu.py``: ``device``, ``tiny`` and ``parts``.
    """
    counts = str(results['device']).startswith('cuda') and not results['tiny']
    parts = results['parts'] if counts else {}
    return [*_of_logits(parts), _of_detectors(parts), _of_numbers(parts)]


def _of_logits(parts: Mapping[str, Any]) -> Iterator[Prediction]:
    for part, batch in _STEPS:
        steps = found_in(parts, part, 'steps', batch)
        kd, wkd = (found_in(steps, name).get('seconds') for name in (KD, WKD_L))
        share = None if None in (kd, wkd) else (wkd - kd) / kd
        yield _judged(
            f'{part}, {batch}: WKD-L minus KD, over the step with KD',
            f'below {_LOGITS_BELOW:g}',
            share,
            share is not None and share < _LOGITS_BELOW,
        )


def _of_detectors(parts: Mapping[str, Any]) -> Prediction:
    ratio = found_in(parts, 'detectors', 'steps', 'batch 8', BOTH).get('ratio')
    median = ratio[0] if ratio else None
    return _judged(
        f'detectors, batch 8: {BOTH} over the plain step',
        f'between {_DISTILLED_FROM:g} and {_DISTILLED_TO:g}',
        median,
        median is not None and _DISTILLED_FROM <= median <= _DISTILLED_TO,
    )


def _of_numbers(parts: Mapping[str, Any]) -> Prediction:
    """Judge the largest error of all losses; one that failed or is not finite is no small one."""
    what, expected = 'largest float32 error of a loss', f'below {_ERROR_BELOW:g}'
    losses = found_in(parts, 'numerics', 'losses')
    errors = {name: _largest(found_in(modes, 'float32')) for name, modes in losses.items()}
    if not errors or found_in(parts, 'numerics').get('state') != 'done':
        return _judged(what, expected, None, False)
    failed = [name for name, error in errors.items() if error is None]
    if failed:
        return Prediction(f'{what} ({", ".join(failed)} failed)', expected, None, NOT_MET)
    worst = max(errors, key=errors.get)
    return _judged(f'{what} ({worst})', expected, errors[worst], errors[worst] < _ERROR_BELOW)


def _largest(errors: Mapping[str, Any]) -> float | None:
    values = [errors.get(key) for key in ('value', 'gradient')]
    return None if None in values else max(values)


def _judged(what: str, expected: str, measured: float | None, met: bool) -> Prediction:
    if measured is None:
        return Prediction(what, expected, None, NOT_MEASURED)
    return Prediction(what, expected, measured, MET if met else NOT_MET)
