"""Run a study and report it: one spec file, one command, records, tables with intervals, figures.

Command:
    python tools/compare.py studies/digits.py

Each run trains in a process of its own, is validated and leaves a record (studies/results/); what
has a record is never trained again, and interrupted runs go on. In the folder of the spec's
work_dir, or that of --output, appear table.md, results.csv and figures. docs/compare.md describes
the format of a spec and how sure the numbers are.

Exit code: 0 if all is done (with --only, of those methods), 1 after an error, 3 if runs are missing
that other shards or processes do.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from wkd_det.experiments.comparison import Comparison
from wkd_det.experiments.executor import TAG, say
from wkd_det.experiments.revision import RevisionError
from wkd_det.experiments.run import ChangedError, RunError
from wkd_det.experiments.shards import Shard, read_shard
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.ops.checks import listed

MISSING = 3
"""Exit code of a process whose share is done while runs of others are missing."""


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
    parser.add_argument(
        '--shard',
        metavar='I/N',
        default='1/1',
        help='do only the I-th of N equal shares of the runs; the shares need no common disk',
    )
    parser.add_argument(
        '--wait',
        action='store_true',
        help='look every 30 s whether records that others make have come, and go on then',
    )
    parser.add_argument(
        '--only',
        metavar='METHOD',
        nargs='+',
        default=[],
        help='train no runs but those of these methods of the spec, and the searches they borrow',
    )
    parser.add_argument('--report-only', action='store_true', help='report the records there are')
    parser.add_argument(
        '--output', type=Path, help="folder of tables and figures (default: the spec's work_dir)"
    )
    parser.add_argument(
        '--keep-checkpoints',
        action='store_true',
        help='leave the checkpoints of finished runs, which are removed otherwise',
    )
    parser.add_argument(
        '--rerun-changed',
        action='store_true',
        help='remove records and runs of other code, config or data and train them again',
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
    if arguments.report_only and (arguments.rerun_changed or arguments.retry_failed):
        parser.error('--report-only trains nothing: leave out --rerun-changed and --retry-failed')
    try:
        arguments.shard = read_shard(arguments.shard)
    except ValueError as error:
        parser.error(f'--shard: {error}')
    if arguments.threads is None and (arguments.jobs > 1 or arguments.shard.count > 1):
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
            shard=arguments.shard,
            waits=arguments.wait,
            discard=arguments.rerun_changed,
            retry=arguments.retry_failed,
            keep_checkpoints=arguments.keep_checkpoints,
            only=arguments.only,
            output=arguments.output,
        )
        if arguments.report_only:
            comparison.report()
            return
        missing = comparison.run()
    except ChangedError as error:
        hint = '' if arguments.report_only else '; --rerun-changed trains such runs again'
        sys.exit(f'{TAG} error: {error}{hint}')
    except (FileNotFoundError, ImportError, KeyError, TypeError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f'{TAG} error: {message}')
    except (RevisionError, RunError) as error:
        sys.exit(f'{TAG} error: {error}')
    except KeyboardInterrupt:
        sys.exit(f'{TAG} interrupted; the same command goes on from the last checkpoints')
    if missing:
        say(f'missing, for others to do: {listed(missing, 20)}; {owners(missing, arguments.shard)}')
        sys.exit(MISSING)


def owners(names: list[str], shard: Shard) -> str:
    """Return whose share missing runs are."""
    if shard.count == 1:
        return 'other processes are at work on them'
    indices = sorted({shard.owner(name) for name in names})
    return f'of shard {listed([f"{index}/{shard.count}" for index in indices])}'


if __name__ == '__main__':
    main()
