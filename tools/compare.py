"""Compare methods over seeds: one spec file, one command, a table with intervals and plots.

Command:
    python tools/compare.py studies/methods.py

Each run trains in a process of its own and is validated; finished runs are reused, interrupted
ones go on. In the folder of the spec's work_dir appear results.csv, table.md,
learning_curves.png and forest.png. docs/compare.md describes the format of a spec and how sure the
numbers are.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from wkd_det.experiments.comparison import TAG, Comparison
from wkd_det.experiments.run import ChangedError, RunError
from wkd_det.experiments.spec import read_spec


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('spec', help='file that lists methods and seeds')
    parser.add_argument('--jobs', type=int, default=1, help='runs at once (default: 1)')
    parser.add_argument(
        '--threads', type=int, help='threads per run (default: 1 with several jobs, else unchanged)'
    )
    parser.add_argument('--report-only', action='store_true', help='report the finished runs')
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
            tools=Path(__file__).parent,
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
