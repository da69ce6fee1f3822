"""Comparison of methods: search, training and report of all runs that a spec asks for."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

from wkd_det.experiments.figures import forest_plot, learning_curves
from wkd_det.experiments.plan import best_factor, final_runs, preparation_run, search_runs
from wkd_det.experiments.processes import ProcessGroup, Progress
from wkd_det.experiments.report import (
    csv_text,
    markdown_search,
    markdown_table,
    summarise,
)
from wkd_det.experiments.run import ChangedError, RunError, TrainingRun
from wkd_det.experiments.spec import Preparation, Spec
from wkd_det.runtime.files import write_whole

TAG = '[compare]'


class Executor:
    """Trains all runs that are not finished, and reports progress and remaining time.

    Args:
        jobs: Number of processes at once.
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
            stage: Name of these runs in messages.
            runs: In the order in which they are started.

        Returns:
            Message of each run that failed.

        Raises:
            ChangedError: If code or data change meanwhile; then no further run starts.
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
            # Also if an error of ours ends the comparison: no process is left behind.
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
            # The earlier steps of a resumed run say nothing about the pace of this session.
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


class Comparison:
    """A spec and the state of its runs.

    Args:
        spec: Methods, seeds and everything else that is to be compared.
        tools: Folder of the scripts that train and test.
        jobs: Number of processes at once.
        threads: Threads of each process; None leaves them as they are.
        discard: Remove runs of other code, config or data instead of refusing them.
        retry: Start runs of the search again that have failed before.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        tools: Path,
        jobs: int,
        threads: int | None,
        discard: bool,
        retry: bool,
    ) -> None:
        self.spec = spec
        self.tools = tools
        self.threads = threads
        self.discard = discard
        self.retry = retry
        self.executor = Executor(jobs)

    def run(self) -> None:
        """Prepare, search, train; then report.

        Raises:
            ChangedError: If a folder holds another run, or code or data change meanwhile.
            RunError: If a preparation or a run fails.
        """
        for entry in self.spec.prepare:
            self._prepare(entry)
        searched = search_runs(self.spec, tools=self.tools, threads=self.threads)
        if searched:
            # A weight at which training breaks down has lost; it does not stop the comparison.
            runs = [run for *_, run in searched if self.retry or not run.has_failed]
            self._execute('search', runs)
            for run in runs:
                if run.is_finished:
                    run.discard_checkpoints()
        factors = choose(self.spec, searched)
        final = final_runs(self.spec, factors, tools=self.tools, threads=self.threads)
        failures = self._execute('comparison', [run for *_, run in final])
        self.report()
        if failures:
            raise RunError(f'{len(failures)} runs failed, see above; the table lacks them')

    def report(self) -> None:
        """Write the results of the runs that are finished.

        Raises:
            ChangedError: If the results do not belong together.
            RunError: If there are none.
        """
        spec = self.spec
        planned = search_runs(spec, tools=self.tools)
        searched = [entry for entry in planned if entry[-1].is_finished or entry[-1].has_failed]
        complete = len(searched) == len(planned)
        factors = choose(spec, searched) if complete else {}
        final = final_runs(spec, factors, tools=self.tools) if complete else []
        final = [entry for entry in final if entry[-1].is_finished]
        check_together([entry[-1] for entry in [*searched, *final]])
        rows = [
            ('search', method.name, factor, seed, run.result())
            for method, factor, seed, run in searched
            if run.is_finished
        ]
        results: dict[str, dict[int, Any]] = {}
        for method, seed, run in final:
            results.setdefault(method.name, {})[seed] = run.result()
            factor = factors.get(method.name, 1.0)
            rows.append(('final', method.name, factor, seed, results[method.name][seed]))
        if not rows:
            raise RunError(f'nothing to report: no run in {spec.work_dir} is finished')
        write_whole(spec.work_dir / 'results.csv', csv_text(spec, rows))
        parts = [f'# {spec.title}', f'`python tools/compare.py {spec.path}`']
        if results:
            summary = summarise(spec, results)
            parts += [_how(spec), markdown_table(spec, summary)]
            learning_curves(spec, results, spec.work_dir / 'learning_curves.png')
            if any(any(row.differences.values()) for row in summary):
                forest_plot(spec, summary, spec.work_dir / 'forest.png')
        if searched:
            scores = scores_of(searched)
            if complete:
                parts += ['## Search', _how_searched(spec), markdown_search(spec, scores)]
            else:
                parts.append(f'Search: {len(searched)} runs are finished.')
        text = '\n\n'.join(parts) + '\n'
        write_whole(spec.work_dir / 'table.md', text)
        print(f'\n{text}\n{TAG} written to {spec.work_dir}', flush=True)

    def _execute(self, stage: str, runs: Sequence[TrainingRun]) -> dict[TrainingRun, str]:
        for run in runs:
            run.check(discard=self.discard)
        return self.executor.execute(stage, runs)

    def _prepare(self, entry: Preparation) -> None:
        if entry.config is not None:
            run = preparation_run(self.spec, entry, tools=self.tools, threads=self.threads)
            failures = self._execute(entry.name, [run])
            if failures:
                raise RunError(f'{entry.name} failed, and all else needs it')
            return
        if is_made(entry):
            print(f'{TAG} {entry.name}: {entry.makes} is there', flush=True)
            return
        words = [sys.executable if word == 'python' else word for word in entry.command]
        print(f'{TAG} {entry.name}: {shlex.join(entry.command)}', flush=True)
        code = subprocess.run(words, check=False).returncode
        if code != 0:
            raise RunError(f'{entry.name} failed with exit code {code}')
        if entry.makes is not None and not Path(entry.makes).exists():
            raise RunError(f'{entry.name} did not make {entry.makes}')


def is_made(entry: Preparation) -> bool:
    """Whether the output of a command is there and no older than its inputs."""
    if entry.makes is None or not Path(entry.makes).exists():
        return False
    made = Path(entry.makes).stat().st_mtime
    return all(
        not Path(path).exists() or Path(path).stat().st_mtime <= made for path in entry.needs
    )


def scores_of(searched: Sequence[tuple[Any, ...]]) -> dict[str, dict[float, list[float]]]:
    """Return the values of the metric by method and factor; NaN for a run without a result."""
    scores: dict[str, dict[float, list[float]]] = {}
    for method, factor, _, run in searched:
        value = run.result()['metrics'][run.metric] if run.is_finished else math.nan
        scores.setdefault(method.name, {}).setdefault(factor, []).append(value)
    return scores


def choose(spec: Spec, searched: Sequence[tuple[Any, ...]]) -> Mapping[str, float]:
    """Return the best factor of each method that was searched."""
    return {name: best_factor(scores) for name, scores in scores_of(searched).items()}


def check_together(runs: Sequence[TrainingRun]) -> None:
    """Refuse results of different code, data or versions in one table.

    Raises:
        ChangedError: If two differ; it names both and what differs.
    """
    seen: dict[tuple[str, str], tuple[Any, TrainingRun]] = {}
    for run in runs:
        kept = run.kept_fingerprint() or {}
        for part in ('code', 'files', 'versions', 'extra'):
            for key, value in kept.get(part, {}).items():
                other, first = seen.setdefault((part, key), (value, run))
                if other != value:
                    raise ChangedError(
                        f'{first.title} and {run.title} are results of different {part}: {key}'
                    )


def _how(spec: Spec) -> str:
    length = f', {spec.length} steps' if spec.length else ''
    return (
        f'Seeds {", ".join(map(str, spec.seeds))}{length}. Mean ± standard error over seeds; '
        'differences are paired by seed, with the 95 % percentile bootstrap interval of their '
        'mean.'
    )


def _how_searched(spec: Spec) -> str:
    return (
        f'Seeds {", ".join(map(str, spec.search.seeds))}, none of them in the table above; every '
        'method with a weight got the same number of runs.'
    )
