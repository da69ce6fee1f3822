"""Records of finished runs: one small JSON file each, from which every table is made."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from wkd_det.experiments.fingerprint import differences, identity
from wkd_det.experiments.unit import unit_cpu_seconds
from wkd_det.runtime.files import read_json, write_whole
from wkd_det.runtime.machine import processor_name

CURVE_POINTS = 50
"""Points of a curve that a record keeps at most."""
_NEEDED = ('commit', 'cpu_seconds', 'extra', 'files', 'machine', 'metrics', 'versions')
_NEEDED_OF_FINISHED = ('curve', 'losses', 'peak_memory', 'seconds_per_step')
_DIGITS = 6  # of a number within a list, significant ones
_SHORT = 12  # characters of a hash


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, one line for each of its keys; NaN becomes null."""
    lines = [
        f' {json.dumps(key)}: {json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)}'
        for key, value in record.items()
    ]
    write_whole(path, '{\n' + ',\n'.join(lines) + '\n}\n')


def read_record(path: Path) -> dict[str, Any]:
    """Return the content of a record.

    Raises:
        ValueError: If the file is no record.
    """
    try:
        record = read_json(path)
    except ValueError as error:
        raise ValueError(f'{path} is no record: {error}') from None
    if not isinstance(record, dict):
        raise ValueError(f'{path} is no record: it holds a {type(record).__name__}')
    needed = _NEEDED if 'failed' in record else (*_NEEDED, *_NEEDED_OF_FINISHED)
    for key in needed:
        if key not in record:
            raise ValueError(f'{path} is no record: it lacks {key}')
    return record


def origin(fingerprint: Mapping[str, Any], commit: str | None) -> dict[str, Any]:
    """Return the part of a record that says what the run depended on.

    Args:
        fingerprint: That of the run; see :func:`~wkd_det.experiments.fingerprint.fingerprint`.
        commit: Commit of the study. Its code is that of the commit; without one the hashes of the
            files of the code are kept.
    """
    return dict(
        commit=commit,
        config_hash=identity(fingerprint['config']),
        files=_shortened(fingerprint['files']),
        code=None if commit else _shortened(fingerprint['code']),
        versions=fingerprint['versions'],
        extra=fingerprint['extra'],
        fingerprint=identity(fingerprint),
    )


def counted(commit: str | None, commits: Sequence[str]) -> str | None:
    """Return the commit that a record of a study must have: its own if that is one of several."""
    return commit if commit in commits else next(iter(commits), None)


def origin_differences(record: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of all in which two origins differ.

    Records of a commit count for it on whatever machine they were made; without a commit the code
    and the versions underneath count too.
    """
    parts = ['commit', 'config_hash', 'files', 'extra']
    if expected['commit'] is None:
        parts += ['code', 'versions']
    old, new = ({part: _mapping(one.get(part)) for part in parts} for one in (record, expected))
    return differences(old, new)


def thinned(points: Mapping[int, Any], most: int = CURVE_POINTS) -> list[list[Any]]:
    """Return pairs of step and value, at most that many, evenly spread; the last is among them.

    >>> thinned({1: 0.5, 2: 0.25, 3: 0.125, 4: 0.0625}, 2)
    [[2, 0.25], [4, 0.0625]]
    """
    pairs = [[step, value] for step, value in sorted(points.items())]
    if len(pairs) <= most:
        return pairs
    return [pairs[round((index + 1) * len(pairs) / most) - 1] for index in range(most)]


def rounded(value: Any) -> Any:
    """Return a value with all floats in it rounded to six significant digits."""
    if isinstance(value, float):
        return float(f'{value:.{_DIGITS}g}')
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def machine(threads: int | None) -> dict[str, Any]:
    """Return what is to be known about this machine, versions apart; it takes a second.

    Args:
        threads: Threads of each process; None: as many as it takes.
    """
    return dict(
        processor=processor_name(),
        cores=os.cpu_count(),
        threads=threads or torch.get_num_threads(),
        platform=platform.platform(),
        unit_cpu_seconds=rounded(unit_cpu_seconds(threads)),
    )


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(timezone.utc).strftime('%Y-%m-%d')


def _shortened(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:_SHORT] for name, value in hashes.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a part of an origin as a dict, for ``differences`` names keys."""
    return value if isinstance(value, Mapping) else {} if value is None else {'': value}


def _plain(value: Any) -> Any:
    """Return JSON that is strict: a float that is not finite is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
