"""Part ``numerics``: every loss in every precision against float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gpu_check.measuring import Meter
from gpu_check.notes import Notes
from gpu_check.samples import SIZES, TINY, Sample, samples, value_and_gradient
from wkd_det.ops.fused.switch import fused_kernels

_CPU = torch.device('cpu')
_HALVES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}
_FUSED = ('WKDLogitLoss', 'WKDLogitLoss joint', 'WKDFeatureLoss diag w2')
"""Losses that have fused kernels."""
_LARGEST = 2.0**8
"""Largest entry of a scaled gradient: a gradient scaler goes up until float16 overflows."""


def check_numerics(notes: Notes, meter: Meter) -> None:
    """Compare value and gradient of every loss with float64 on the CPU.

    Notes by loss and mode ``value`` and ``gradient``, errors relative to the 2-norm, None where
    something is not finite; in mode ``deterministic`` also ``same_bits`` of two calls.
    """
    for name, make in samples(TINY if meter.brief else SIZES).items():
        with notes.trying('losses', name):
            notes.check()
            sample = make()
            exact = value_and_gradient(sample, _CPU, torch.float64)
            for mode in _modes(meter, name):
                with notes.trying('losses', name, mode):
                    notes.add('losses', name, mode, **_compared(mode, sample, exact, meter.device))


def relative_error(value: Tensor, exact: Tensor) -> float | None:
    """Return the 2-norm of the difference over that of the exact values, None if not finite.

    >>> round(relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])), 6)
    0.1
    """
    error = ((value - exact).norm() / exact.norm().clamp(min=1e-30)).item()
    return error if math.isfinite(error) else None


def _modes(meter: Meter, name: str) -> Iterator[str]:
    yield from ('float32', 'deterministic', 'bfloat16', 'float16')
    if meter.is_gpu:  # elsewhere they are float32 again
        yield from ('TF32', 'float32 on the CPU')
        if name in _FUSED:
            yield 'fused'


def _compared(
    mode: str, sample: Sample, exact: tuple[Tensor, Tensor], device: torch.device
) -> dict[str, Any]:
    if mode in _HALVES:
        largest = exact[1].abs().max().item()
        scale = 2.0 ** round(math.log2(_LARGEST / largest)) if largest else 1.0
        found = value_and_gradient(sample, device, _HALVES[mode], autocast=True, scale=scale)
    elif mode == 'deterministic':
        with _deterministic():
            found, again = (value_and_gradient(sample, device, torch.float32) for _ in range(2))
    else:
        with _tf32(mode == 'TF32'), fused_kernels(mode == 'fused'):
            where = _CPU if mode == 'float32 on the CPU' else device
            found = value_and_gradient(sample, where, torch.float32)
    errors: dict[str, Any] = {
        key: relative_error(one, other)
        for key, one, other in zip(('value', 'gradient'), found, exact)
    }
    if mode == 'deterministic':
        errors['same_bits'] = all(torch.equal(one, other) for one, other in zip(found, again))
    return errors


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with _tf32(False):
            yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Let products and convolutions of float32 be made of TF32, or not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before):
            backend.allow_tf32 = value
