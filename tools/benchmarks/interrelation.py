"""``benchmark.py interrelation``: time and memory of CKA between many classes."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.memory import peak_extra_bytes
from benchmarks.report import format_table
from wkd_det.functional import cka


def benchmark_interrelation(*, repeats: int, quick: bool = False) -> list[dict[str, Any]]:
    """Time linear CKA of random features and measure its memory.

    Args:
        repeats: Ignored: the one run takes a minute, and memory needs another.
        quick: Use 20 classes instead of 1000.

    Returns:
        One dict: ``case``, ``seconds``, ``feature_bytes``, ``extra_bytes``, no ``verdicts``.
    """
    classes, examples, dims = (20, 30, 16) if quick else (1000, 700, 512)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(classes, examples, dims, generator=generator)
    cka(features[:2])  # makes what is made once
    seconds = []

    def run() -> None:
        start = time.perf_counter()
        cka(features)
        seconds.append(time.perf_counter() - start)

    extra = peak_extra_bytes(run)  # runs twice, the first time without the profiler
    return [
        dict(
            case=f'linear CKA, {classes} classes x {examples} examples x {dims} dimensions',
            seconds=seconds[0],
            feature_bytes=features.nbytes,
            extra_bytes=extra,
            verdicts=[],
        )
    ]


def format_interrelation(cases: list[dict[str, Any]]) -> str:
    """Return the table of :func:`benchmark_interrelation`."""
    rows = [
        [
            case['case'],
            f'{case["seconds"]:.2f}',
            f'{case["feature_bytes"] / 2**30:.2f}',
            f'{case["extra_bytes"] / 2**30:.2f}',
        ]
        for case in cases
    ]
    return format_table(['', 's', 'features, GiB', 'extra, GiB'], rows)
