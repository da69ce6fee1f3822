"""Compare methods over seeds: one spec file, one command, a table with intervals and plots.

Command:
    python tools/compare.py studies/methods.py

Each run trains in a process of its own and is validated; what is finished is reused, what was
interrupted goes on. In the folder of the spec's work_dir appear results.csv, table.md,
learning_curves.png and forest.png. docs/compare.md tells the format of a spec and how sure the
numbers are.
"""

from __future__ import annotations

import argparse
import logging
import math
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparison.executor import TAG, Executor
from comparison.figures import forest_plot, learning_curves
from comparison.plan import best_factor, final_runs, preparation_run, search_runs
from comparison.report import (
    csv_text,
    markdown_search,
    markdown_table,
    summarise,
    write_text,
)
from comparison.spec import Preparation, Spec, read_spec
from mmengine.logging import MMLogger
from runs.training_run import ChangedError, RunError, TrainingRun

import wkd_det  # noqa: F401  registers everything, so that the sources of a config are known


class Comparison:
    """A spec and the state of its runs.

    Args:
        spec: What is compared.
        jobs: Processes at once.
        threads: Threads of each process; None leaves them as they are.
        discard: Remove runs of other code, config or data instead of refusing them.
        retry: Start runs of the search again that have failed before.
    """

    def __init__(
        self, spec: Spec, *, jobs: int, threads: int | None, discard: bool, retry: bool
    ) -> None:
        self.spec = spec
        self.threads = threads
        self.discard = discard
        self.retry = retry
        self.executor = Executor(jobs)

    def run(self) -> None:
        """Prepare, search, train; then report.

        Raises:
            ChangedError, RunError: If something is in the way.
        """
        for entry in self.spec.prepare:
            self._prepare(entry)
        searched = search_runs(self.spec, threads=self.threads)
        if searched:
            # A weight at which training breaks down has lost; it does not stop the comparison.
            runs = [run for *_, run in searched if self.retry or not run.has_failed]
            self._execute('search', runs)
            for run in runs:
                if run.is_finished:
                    run.discard_checkpoints()
        factors = choose(self.spec, searched)
        final = final_runs(self.spec, factors, threads=self.threads)
        failures = self._execute('comparison', [run for *_, run in final])
        self.report()
        if failures:
            raise RunError(f'{len(failures)} runs failed, see above; the table lacks them')

    def report(self) -> None:
        """Write what there is.

        Raises:
            ChangedError: If the results do not belong together.
            RunError: If there are none.
        """
        spec = self.spec
        planned = search_runs(spec, threads=None)
        searched = [entry for entry in planned if entry[-1].is_finished or entry[-1].has_failed]
        complete = len(searched) == len(planned)
        factors = choose(spec, searched) if complete else {}
        final = final_runs(spec, factors, threads=None) if complete else []
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
        write_text(spec.work_dir / 'results.csv', csv_text(spec, rows))
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
        write_text(spec.work_dir / 'table.md', text)
        print(f'\n{text}\n{TAG} written to {spec.work_dir}', flush=True)

    def _execute(self, stage: str, runs: Sequence[TrainingRun]) -> dict[TrainingRun, str]:
        for run in runs:
            run.check(discard=self.discard)
        return self.executor.execute(stage, runs)

    def _prepare(self, entry: Preparation) -> None:
        if entry.config is not None:
            run = preparation_run(self.spec, entry, threads=self.threads)
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
    """Whether what a command makes is there and no older than what it is made from."""
    if entry.makes is None or not Path(entry.makes).exists():
        return False
    made = Path(entry.makes).stat().st_mtime
    return all(
        not Path(path).exists() or Path(path).stat().st_mtime <= made for path in entry.needs
    )


def scores_of(searched: Sequence[tuple[Any, ...]]) -> dict[str, dict[float, list[float]]]:
    """Values of the metric by method and factor; NaN for a run without a result."""
    scores: dict[str, dict[float, list[float]]] = {}
    for method, factor, _, run in searched:
        value = run.result()['metrics'][run.metric] if run.is_finished else math.nan
        scores.setdefault(method.name, {}).setdefault(factor, []).append(value)
    return scores


def choose(spec: Spec, searched: Sequence[tuple[Any, ...]]) -> Mapping[str, float]:
    """The best factor of each method that was searched."""
    return {name: best_factor(scores) for name, scores in scores_of(searched).items()}


def check_together(runs: Sequence[TrainingRun]) -> None:
    """Refuse results of different code, data or versions in one table.

    Raises:
        ChangedError: Naming the two runs and what differs.
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


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('spec', help='file that lists methods and seeds')
    parser.add_argument('--jobs', type=int, default=1, help='runs at once (default: 1)')
    parser.add_argument(
        '--threads', type=int, help='of each run (default: 1 with several jobs, else as they are)'
    )
    parser.add_argument('--report-only', action='store_true', help='of what is finished')
    parser.add_argument(
        '--rerun-changed',
        action='store_true',
        help='remove runs of other code, config or data and train them again',
    )
    parser.add_argument(
        '--retry-failed',
        action='store_true',
        help='start failed runs of the search again (those of the table always are)',
    )
    arguments = parser.parse_args(argv)
    for name in ('jobs', 'threads'):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, got {value}')
    if arguments.threads is None and arguments.jobs > 1:
        arguments.threads = 1
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Compare, and say in one sentence what went wrong."""
    arguments = parse_arguments(argv)
    MMLogger.get_instance('compare').setLevel(logging.WARNING)  # mmdet greets every run
    for number in (signal.SIGINT, signal.SIGTERM):  # shells let background jobs ignore the first
        signal.signal(number, signal.default_int_handler)
    try:
        comparison = Comparison(
            read_spec(arguments.spec),
            jobs=arguments.jobs,
            threads=arguments.threads,
            discard=arguments.rerun_changed,
            retry=arguments.retry_failed,
        )
        if arguments.report_only:
            comparison.report()
        else:
            comparison.run()
    except ChangedError as error:
        hint = '' if arguments.report_only else '; --rerun-changed trains such runs again'
        sys.exit(f'{TAG} error: {error}{hint}')
    except (FileNotFoundError, KeyError, RunError, TypeError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f'{TAG} error: {message}')
    except KeyboardInterrupt:
        sys.exit(f'{TAG} interrupted; the same command goes on from the last checkpoints')


if __name__ == '__main__':
    main()
