"""Files of class distances."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wkd_det.checkpoint import read_tensor, write_whole
from wkd_det.functional import check_cost

_SUFFIX = '.safetensors'


@dataclass(frozen=True)
class CostFile:
    """What a file of class distances holds."""

    distance: Tensor
    """``1 - interrelation``, float32, shape ``(C, C)``."""
    class_names: list[str] | None
    """In the order of the rows; None where the file has no names."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """How it was made: method, teacher, counts, ...; empty where the file does not tell."""


def write_cost_file(
    path: str | os.PathLike,
    distance: Tensor,
    class_names: Sequence[str],
    **metadata: Any,
) -> None:
    """Write class distances with the names of the classes.

    The file appears whole or not at all, and the same arguments give the same bytes.

    Args:
        path: Ends with ``.safetensors``.
        distance: Shape ``(C, C)``, ``1 - interrelation``.
        class_names: ``C`` different names in the order of the rows; ``'background'`` among them
            if the matrix covers it.
        **metadata: How it was made: method, counts, ...; anything JSON can hold.

    Raises:
        ValueError: If the suffix, the matrix or the names are wrong.
        OSError: If the disk is full or the place cannot be written.
    """
    path = check_suffix(path)
    names = list(class_names)
    if len(names) != len(distance) or len(set(names)) != len(names):
        raise ValueError(
            f'class_names must be {len(distance)} different names, got {len(names)}, '
            f'{len(set(names))} of them different'
        )
    _check(distance, names, path)
    header = json.dumps(dict(metadata, class_names=names))
    tensors = {'distance': distance.detach().float().contiguous()}
    write_whole(path, save(tensors, {'wkd_det': header}))


def check_suffix(path: str | os.PathLike) -> Path:
    """Refuse a name that a cost file cannot have, before anything is computed for it.

    Raises:
        ValueError: If it does not end with ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != _SUFFIX:
        raise ValueError(f'path must end with {_SUFFIX}, got {path}')
    return path


def read_cost_file(path: str | os.PathLike) -> CostFile:
    """Read class distances.

    Args:
        path: A ``.safetensors`` file of :func:`write_cost_file`, or a ``.pth`` file that holds
            one matrix ``1 - interrelation``, as the reference repository ships.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or no matrix of distances.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'cost file not found: {path} (from {os.getcwd()})')
    if path.suffix != _SUFFIX:
        distance = read_tensor(path)
        _check(distance, None, path)
        return CostFile(distance.float(), None)
    try:
        with safe_open(path, framework='pt') as file:
            distance = file.get_tensor('distance')
            header: Mapping[str, Any] = json.loads((file.metadata() or {})['wkd_det'])
            names = list(header['class_names'])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is no cost file of wkd_det: {error}') from None
    _check(distance, names, path)
    metadata = {key: value for key, value in header.items() if key != 'class_names'}
    return CostFile(distance.float(), names, metadata)


def _check(distance: Tensor, names: list[str] | None, path: Path) -> None:
    try:
        check_cost(distance, class_names=names)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
