"""Processes that end with the program that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
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
        """A process whose output, errors too, is read from ``stdout`` as text.

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
        """Wait for the end of one; returns peak resident memory of it and its children in MiB."""
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
    """Signal a process and its children; whether any of them lives."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
