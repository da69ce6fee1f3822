"""Parts in processes of their own: a crash or a deadline costs one part and keeps its results."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wkd_det.runtime.files import read_json

DONE, CRASHED = 'done', 'crashed'
OUT_OF_TIME, INTERRUPTED, NOT_STARTED = 'out of time', 'interrupted', 'not started'


def run_in_process(
    command: Sequence[str],
    file: Path,
    log: Path,
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a command that writes its results to a file as it finds them.

    Args:
        command: Program and arguments.
        file: Where the command writes results, as JSON; removed afterwards.
        log: File to which its output is added.
        seconds: Time after which it is killed.
        environment: Variables to set in addition to those of this process.

    Returns:
        ``state``: :data:`DONE`, :data:`CRASHED`, :data:`OUT_OF_TIME`, or :data:`INTERRUPTED`
        where Ctrl-C came; ``seconds`` that it took; ``found``, what was in the file at the end;
        and ``error``, one sentence, if it is not done.
    """
    file.unlink(missing_ok=True)
    begin = time.monotonic()
    with log.open('ab') as stream:
        start = stream.tell()
        process = subprocess.Popen(
            [*command], stdout=stream, stderr=stream, env={**os.environ, **(environment or {})}
        )
        try:
            state, error = _ended(process.wait(timeout=seconds))
        except subprocess.TimeoutExpired:
            state, error = OUT_OF_TIME, f'stopped after {seconds:.0f} s'
        except KeyboardInterrupt:
            state, error = INTERRUPTED, 'stopped by hand'
        finally:
            process.kill()
            process.wait()
    result: dict[str, Any] = dict(
        state=state,
        seconds=round(time.monotonic() - begin, 1),
        found=read_json(file) if file.is_file() else {},
    )
    file.unlink(missing_ok=True)
    if state == CRASHED:
        error = f'{error}: {_last_line(log, start)}'
    return result if state == DONE else dict(result, error=error)


def _ended(status: int) -> tuple[str, str]:
    if status == 0:
        return DONE, ''
    if status < 0:
        return CRASHED, f'killed by {signal.Signals(-status).name}'
    return CRASHED, f'exit status {status}'


def _last_line(log: Path, start: int) -> str:
    """Return the last line that was written to a file after a position."""
    with log.open('rb') as stream:
        stream.seek(start)
        lines = stream.read().decode(errors='replace').split('\n')
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), 'no output')
