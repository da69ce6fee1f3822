"""Speed and memory of wkd_det, measured side by side with what it is compared to.

Command:
    python tools/benchmark.py losses

Figures are medians over rounds in which the compared forms take turns; ratios are computed
within a round. The last column of each table tells whether the required figure is met; the exit
code is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from benchmarks.losses import benchmark_losses, format_losses
from benchmarks.report import machine


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--threads', type=int, help='threads of PyTorch (default: its own choice)')
    common.add_argument('--repeats', type=int, default=7, help='timed rounds (default: 7)')
    common.add_argument('--json', type=Path, help='write all figures to this file')
    common.add_argument(
        '--quick', action='store_true', help='small sizes: tries the tool, the figures mean nothing'
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('losses', parents=[common], help='the losses against the plain formulas')
    args = parser.parse_args(argv)
    for name in ('threads', 'repeats'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, but got {value}')
    return args


def main() -> None:
    """Measure, print, and tell by the exit code whether all requirements are met."""
    args = parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    cases = benchmark_losses(repeats=args.repeats, quick=args.quick)
    print(', '.join(f'{key}: {value}' for key, value in machine().items()))
    print(f'\n{format_losses(cases)}')
    if args.json is not None:
        args.json.write_text(json.dumps(dict(machine=machine(), cases=cases), indent=1))
    met = all(verdict.met for case in cases for verdict in case['verdicts'])
    sys.exit(0 if met or args.quick else 1)


if __name__ == '__main__':
    main()
