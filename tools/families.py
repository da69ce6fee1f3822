"""Train one step of every family of detectors of MMDetection, plain and then distilled.

Student and teacher have the same config and random weights; images are small. Each family runs in a
process of its own, so one that dies does not end the sweep, and each result is written at once.

    python tools/families.py sweep --out docs/families.json
    python tools/families.py sweep --out docs/families.json --only htc scnet
    python tools/families.py table docs/families.json docs/detectors.md
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import sys
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import wkd_det  # noqa: F401  registers everything
from family_sweep.configs import FAMILIES
from family_sweep.step import run_family
from family_sweep.table import with_tables

_SECONDS = 120
"""Seconds of the processor that a family may take; six times as many on the clock."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('sweep', help='train a step of each family')
    one.add_argument('--out', type=Path, required=True, help='JSON file; results are added to it')
    one.add_argument('--only', nargs='+', choices=list(FAMILIES), metavar='FAMILY')
    one.add_argument('--missing', action='store_true', help='leave out families that are in it')
    two = commands.add_parser('table', help='write the table of a page from the results')
    two.add_argument('results', type=Path)
    two.add_argument('page', type=Path)
    options = parser.parse_args(arguments)
    if options.command == 'table':
        results = json.loads(options.results.read_text(encoding='utf-8'))
        page = options.page.read_text(encoding='utf-8')
        options.page.write_text(with_tables(page, results), encoding='utf-8')
        return
    sweep(options.only or list(FAMILIES), options.out, missing=options.missing)


def sweep(families: list[str], out: Path, *, missing: bool = False) -> dict[str, Any]:
    """Results of families by name, which are written to a file one by one.

    Args:
        families: Names of families.
        out: JSON file; results of other families in it stay.
        missing: Leave out families that are in it.
    """
    results = json.loads(out.read_text(encoding='utf-8')) if out.exists() else {}
    for family in families:
        if missing and family in results:
            continue
        results[family] = run_apart(family)
        print(family, json.dumps(results[family]), flush=True)
        ordered = {name: results[name] for name in FAMILIES if name in results}
        out.write_text(json.dumps(ordered, indent=1) + '\n', encoding='utf-8')
    return results


def run_apart(family: str) -> dict[str, Any]:
    """Result of a family, from a process of its own; ``failed`` in it says why there is none."""
    context = multiprocessing.get_context('fork')  # the libraries are imported already
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(family, sender))
    process.start()
    sender.close()
    failed = dict(config=FAMILIES[family], failed='it ended without a result')
    try:
        result = receiver.recv() if receiver.poll(6 * _SECONDS) else dict(failed, failed='hangs')
    except EOFError:
        result = failed
    process.kill()
    process.join()
    return result


def _run(family: str, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    warnings.simplefilter('ignore')
    init_default_scope('mmdet')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    try:
        result = run_family(family)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        said = f'{type(error).__name__}: {str(error).strip()}'
        result = dict(config=FAMILIES[family], failed=said[:500])
    sender.send(result)


if __name__ == '__main__':
    main()
