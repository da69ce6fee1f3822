"""Speed and memory of wkd_det, measured side by side with what it is compared to.

Command:
    python tools/benchmark.py losses
    python tools/benchmark.py step

Figures are medians over rounds in which the compared forms take turns; ratios are computed
within a round. The last column of each table tells whether the required figure is met; the exit
code is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

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
