"""Training processes: started, ended with the program that started them, read by their logs."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GRACE = 10  # seconds that a process gets to end by itself


class ProcessGroup:
    """Starts processes, each in a session of its own, and ends them all at once.

    Ctrl-C then reaches this program alone, which passes it on, also to what torchrun starts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._living: set[subprocess.Popen] = set()
        self._ended = False

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start a process whose output and errors are read from its ``stdout`` as text.

        Raises:
            ProcessLookupError: If :meth:`end` was called before.
        """
        with self._lock:
            if self._ended:
                raise ProcessLookupError(f'not started, for all are to end: {command[0]}')
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                start_new_session=True,
                **options,
            )
            self._living.add(process)
        return process

    def wait(self, process: subprocess.Popen) -> float:
        """Wait for the end of a process; return its peak resident memory, children too, in MiB."""
        _, status, usage = os.wait4(process.pid, 0)
        with self._lock:
            process.returncode = os.waitstatus_to_exitcode(status)
            self._living.discard(process)
        unit = 2**20 if sys.platform == 'darwin' else 2**10  # bytes there, KiB elsewhere
        return usage.ru_maxrss / unit

    def end(self) -> None:
        """End all, by force those that take too long, and start no more."""
        with self._lock:
            self._ended = True
            ending = list(self._living)
        for process in ending:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while any(_signal(process, 0) for process in ending) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in ending:
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen, number: int) -> bool:
    """Signal a process and its children; return whether any of them lives."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


_ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
_EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+)/(\d+)\]')
_ETA = re.compile(r'\beta: (.+?)(?:\s{2,}|$)')
_LOSS = re.compile(r'\bloss: (\S+)')


@dataclass(frozen=True)
class Progress:
    """Progress of a training, as a line of its log shows it."""

    step: int
    total: int
    remaining: str
    loss: str


def read_progress(line: str, *, max_epochs: int | None = None) -> Progress | None:
    """Return the progress that a line of the log shows, or None if it is another line.

    Args:
        line: A line of the runner's output.
        max_epochs: Length of an epoch-based training, whose log counts steps within the epoch.
    """
    loss, remaining = _LOSS.search(line), _ETA.search(line)
    if loss is None:
        return None
    found = _ITERATION.search(line)
    if found:
        step, total = map(int, found.groups())
    else:
        found = _EPOCH.search(line)
        if not found:
            return None
        epoch, within, length = map(int, found.groups())
        step, total = (epoch - 1) * length + within, (max_epochs or epoch) * length
    return Progress(step, total, remaining.group(1) if remaining else '?', loss.group(1))


def read_scalars(folder: Path) -> list[dict[str, Any]]:
    """Return all records in a work folder, oldest first; a resumed run has several log folders.

    A line that a kill has cut off is left out.
    """
    records = []
    for scalars in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in scalars.read_text(encoding='utf-8').splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return records


def training_records(records: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return losses and times by step; for steps done again after a resume, the last ones."""
    by_step = {record['step']: record for record in records if 'loss' in record}
    return dict(sorted(by_step.items()))


def validation_records(records: list[dict[str, Any]], metric: str) -> dict[int, dict[str, float]]:
    """Return the validation results with ``metric``, by step (epoch, if training is by epoch)."""
    by_step = {record['step']: record for record in records if metric in record}
    return {
        step: {key: value for key, value in record.items() if '/' in key}
        for step, record in sorted(by_step.items())
    }


def seconds_per_step(records: list[dict[str, Any]]) -> float:
    """Return the median over the logged training steps; NaN if there are none."""
    times = [record['time'] for record in training_records(records).values() if 'time' in record]
    return statistics.median(times) if times else float('nan')


def device_memory(records: list[dict[str, Any]]) -> float | None:
    """Return the peak memory of the GPU in MiB as the runner logs it, or None on a CPU."""
    peaks = [record['memory'] for record in records if 'memory' in record]
    return float(max(peaks)) if peaks else None
