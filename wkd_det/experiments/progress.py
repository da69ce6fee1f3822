"""Progress of a study: how much is done, and how long the rest takes, from what runs have taken."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from wkd_det.experiments.run import TrainingRun
from wkd_det.runtime.machine import processor_name


class Clock:
    """Estimate of the time that is left.

    A run takes the CPU seconds per step that finished runs of its method have taken, on whatever
    machine; if there are none, those of all methods; before the first record those of the runs
    at work. CPU seconds become seconds by the median ratio in the records of this machine.

    Args:
        jobs: Number of processes at once.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._rates: dict[str, list[float]] = {}
        self._ratios: list[float] = []
        self._working: dict[TrainingRun, tuple[float, float]] = {}
        self._shares: dict[TrainingRun, float] = {}
        self._lock = threading.Lock()

    def learn(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take the durations of finished runs in place of those known so far."""
        here = processor_name()
        self._rates, self._ratios = {}, []
        for record in records:
            if 'failed' in record or not record['cpu_seconds']:
                continue
            rate = record['cpu_seconds'] / record['steps']
            self._rates.setdefault(record.get('method', ''), []).append(rate)
            if record['machine']['processor'] == here:
                self._ratios.append(record['seconds'] / record['cpu_seconds'])

    def step(self, run: TrainingRun, share: float) -> None:
        """Note the share of a run that is done; the first call says from where it goes on."""
        with self._lock:
            self._working.setdefault(run, (time.monotonic(), share))
            self._shares[run] = share

    def end(self, run: TrainingRun) -> None:
        """Forget a run that has ended."""
        with self._lock:
            self._working.pop(run, None)
            self._shares.pop(run, None)

    def left(self, runs: Iterable[tuple[str, float]]) -> str:
        """Return the time that is left, or '?'.

        Args:
            runs: Method and number of steps of each run that has not begun.
        """
        with self._lock:
            working = dict(self._shares)
            live = [rate for rate in map(self._live, working) if rate is not None]
        todo = [*runs]
        todo += [
            (run.about.get('method', ''), run.length * (1 - share))
            for run, share in working.items()
        ]
        total = 0.0
        for method, steps in todo:
            rate = self._rate(method, live)
            if rate is None:
                return '?'
            total += rate * steps
        return str(timedelta(seconds=round(total / self.jobs)))

    def _rate(self, method: str, live: list[float]) -> float | None:
        """Return the seconds that a step takes."""
        known = self._rates.get(method) or [one for rates in self._rates.values() for one in rates]
        if known:
            ratio = statistics.median(self._ratios) if self._ratios else 1.0
            return statistics.median(known) * ratio
        return statistics.median(live) if live else None

    def _live(self, run: TrainingRun) -> float | None:
        begin, first = self._working[run]
        steps = (self._shares[run] - first) * run.length
        return (time.monotonic() - begin) / steps if steps > 0 else None
