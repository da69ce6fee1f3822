"""Tables and verdicts of the benchmarks."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from wkd_det.runtime.machine import processor_name


class Verdict(NamedTuple):
    """A required figure and the measured one."""

    what: str
    required: str
    measured: float
    met: bool


def at_least(what: str, measured: float, bound: float) -> Verdict:
    """Judge a figure with a lower bound.

    >>> at_least('faster', 30.0, 20.0).met
    True
    """
    return Verdict(what, f'>= {bound:g}', measured, measured >= bound)


def at_most(what: str, measured: float, bound: float) -> Verdict:
    """Judge a figure with an upper bound.

    >>> at_most('ratio', 1.2, 1.1).met
    False
    """
    return Verdict(what, f'<= {bound:g}', measured, measured <= bound)


def format_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table with aligned columns, the first to the left, the others to the right.

    >>> print(format_table(['form', 'ms'], [['ours', 1], ['direct', 20]]))
    form    ms
    ours     1
    direct  20
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for first, *others in cells:
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        lines.append('  '.join([first.ljust(widths[0]), *aligned]))
    return '\n'.join(lines)


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return a table of required, measured and met."""
    rows = [
        [verdict.what, verdict.required, f'{verdict.measured:.3g}', 'yes' if verdict.met else 'NO']
        for verdict in verdicts
    ]
    return format_table(['requirement', 'required', 'measured', 'met'], rows)


def machine() -> dict[str, Any]:
    """Return what the figures depend on in addition to the code."""
    return dict(
        torch=torch.__version__,
        python=platform.python_version(),
        processor=processor_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load=[round(load, 2) for load in os.getloadavg()],
    )
