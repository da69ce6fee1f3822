"""Logs that a training leaves in its work folder: losses, times, memory, results of validations."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

VALIDATIONS = 'validations.jsonl'
"""File of ``MetricFileHook``."""


def read_scalars(folder: Path) -> list[dict[str, Any]]:
    """Return all records in a work folder, oldest first; a resumed run has several log folders.

    A line that a kill has cut off is left out.
    """
    return [
        record
        for scalars in sorted(folder.glob('*/vis_data/scalars.json'))
        for record in _lines(scalars)
    ]


def training_records(records: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return losses and times by step; for steps done again after a resume, the last ones."""
    by_step = {record['step']: record for record in records if 'loss' in record}
    return dict(sorted(by_step.items()))


def read_validations(folder: Path, unit: str) -> dict[int | None, dict[str, Any]]:
    """Return the results of all validations, as ``MetricFileHook`` keeps them, by step.

    Of a step that was validated twice the last one counts; a line that a kill has cut off is left
    out.

    Args:
        folder: Work folder.
        unit: ``'iter'`` or ``'epoch'``: what counts the steps. Those of a test are None.
    """
    file = folder / VALIDATIONS
    records = _lines(file) if file.is_file() else ()
    return {record[unit]: record['metrics'] for record in records}


def seconds_per_step(records: list[dict[str, Any]]) -> float:
    """Return the median over the logged training steps; NaN if there are none."""
    times = [record['time'] for record in training_records(records).values() if 'time' in record]
    return statistics.median(times) if times else float('nan')


def device_memory(records: list[dict[str, Any]]) -> float | None:
    """Return the peak memory of the GPU in MiB as the runner logs it, or None on a CPU."""
    peaks = [record['memory'] for record in records if 'memory' in record]
    return float(max(peaks)) if peaks else None


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding='utf-8').splitlines():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)
