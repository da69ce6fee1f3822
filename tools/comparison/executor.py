"""Runs one after the other, or a few at once, with progress and remaining time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import timedelta

from runs.process_group import ProcessGroup
from runs.train_log import Progress
from runs.training_run import ChangedError, RunError, TrainingRun

TAG = '[compare]'


class Executor:
    """Trains what is not finished.

    Args:
        jobs: Processes at once.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._lock = threading.Lock()
        self._shares: dict[TrainingRun, float] = {}
        self._begin_shares: dict[TrainingRun, float] = {}
        self._resumed: set[TrainingRun] = set()
        self._begin = 0.0

    def execute(self, stage: str, runs: Sequence[TrainingRun]) -> dict[TrainingRun, str]:
        """Run all; a failure does not stop the others.

        Args:
            stage: For messages.
            runs: In the order in which they are started.

        Returns:
            Messages of the runs that failed.

        Raises:
            ChangedError: If code or data change meanwhile; then nothing goes on.
            KeyboardInterrupt: After the processes have ended.
        """
        waiting = [run for run in runs if not run.is_finished]
        reused = len(runs) - len(waiting)
        print(f'{TAG} {stage}: {len(runs)} runs, {reused} of them finished before', flush=True)
        self._shares = dict.fromkeys(waiting, 0.0)
        self._begin_shares = {}
        self._begin = time.monotonic()
        failures: dict[TrainingRun, str] = {}
        group = ProcessGroup()
        pool = ThreadPoolExecutor(self.jobs)
        try:
            futures = {pool.submit(self._train, run, group): run for run in waiting}
            left = set(futures)
            while left:
                done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    run = futures[future]
                    error = future.exception()
                    if isinstance(error, RunError) and not isinstance(error, ChangedError):
                        failures[run] = str(error)
                        print(f'{TAG} {error}', flush=True)
                    elif error is not None:
                        raise error
        finally:
            # Also where an error of ours ends the comparison: nothing trains on unseen.
            pool.shutdown(wait=False, cancel_futures=True)
            group.end()
            pool.shutdown(wait=True)
        return failures

    def _train(self, run: TrainingRun, group: ProcessGroup) -> None:
        if run.is_begun:
            self._resumed.add(run)
        try:
            run.run(lambda progress: self._report(run, progress), group)
        finally:
            with self._lock:
                self._shares[run] = 1.0
        with self._lock:
            value = run.result()['metrics'][run.metric]
            print(f'{TAG} {self._count()} {run.title}: {run.metric} {value:.4f}', flush=True)

    def _report(self, run: TrainingRun, progress: Progress) -> None:
        with self._lock:
            share = progress.step / progress.total
            # What a resumed run did before says nothing about the pace of this session.
            self._begin_shares.setdefault(run, share if run in self._resumed else 0.0)
            self._shares[run] = share
            print(
                f'{TAG} {self._count()} {run.title}: step {progress.step}/{progress.total}, '
                f'loss {progress.loss}; all in about {self._remaining()}',
                flush=True,
            )

    def _count(self) -> str:
        finished = sum(share == 1.0 for share in self._shares.values())
        return f'{finished}/{len(self._shares)}'

    def _remaining(self) -> str:
        done = sum(self._shares.values()) - sum(self._begin_shares.values())
        if done <= 0:
            return '?'
        left = len(self._shares) - sum(self._shares.values())
        seconds = left * (time.monotonic() - self._begin) / done
        return str(timedelta(seconds=round(seconds)))
