"""Training processes: started, ended with the program that started them, read by their output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_GRACE = 10  # seconds that a process gets to end by itself


@dataclass(frozen=True)
class Usage:
    """Resources that a process has used."""

    memory: float
    """Peak resident memory in MiB."""
    cpu_seconds: float


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

    def wait(self, process: subprocess.Popen) -> Usage:
        """Wait for the end of a process; return what it and its children have used."""
        _, status, usage = os.wait4(process.pid, 0)
        with self._lock:
            process.returncode = os.waitstatus_to_exitcode(status)
            self._living.discard(process)
        unit = 2**20 if sys.platform == 'darwin' else 2**10  # bytes there, KiB elsewhere
        return Usage(usage.ru_maxrss / unit, usage.ru_utime + usage.ru_stime)

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
