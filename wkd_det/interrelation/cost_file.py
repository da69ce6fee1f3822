"""Files of class distances."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wkd_det.checkpoint import read_tensor
from wkd_det.functional import check_cost

_SUFFIX = '.safetensors'


def write_cost_file(
    path: str | os.PathLike,
    distance: Tensor,
    class_names: Sequence[str],
    **metadata: Any,
) -> None:
    """Write class distances with the names of the classes.

    The file appears whole or not at all.

    Args:
        path: Ends with ``.safetensors``.
        distance: Shape ``(C, C)``, ``1 - interrelation``.
        class_names: ``C`` different names in the order of the rows; ``'background'`` among them
            if the matrix covers it.
        **metadata: How it was made: method, counts, ...; anything JSON can hold.

    Raises:
        ValueError: If the suffix, the matrix or the names are wrong.
    """
    path = Path(path)
    if path.suffix != _SUFFIX:
        raise ValueError(f'path must end with {_SUFFIX}, got {path}')
    names = list(class_names)
    if len(names) != len(distance) or len(set(names)) != len(names):
        raise ValueError(
            f'class_names must be {len(distance)} different names, got {len(names)}, '
            f'{len(set(names))} of them different'
        )
    _check(distance, names, path)
    partial = path.with_name(f'.{path.name}.partial')
    header = dict(metadata, class_names=names)
    save_file({'distance': distance.float().contiguous()}, partial, {'wkd_det': json.dumps(header)})
    os.replace(partial, path)


def read_cost_file(path: str | os.PathLike) -> tuple[Tensor, list[str] | None]:
    """Read class distances.

    Args:
        path: A ``.safetensors`` file of :func:`write_cost_file`, or a ``.pth`` file that holds
            one matrix ``1 - interrelation``, as the reference repository ships.

    Returns:
        Distances, shape ``(C, C)``, and the names of the classes, None where the file has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or no matrix of distances.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'cost file not found: {path} (from {os.getcwd()})')
    names = None
    if path.suffix == _SUFFIX:
        try:
            with safe_open(path, framework='pt') as file:
                distance = file.get_tensor('distance')
                header: Mapping[str, Any] = json.loads((file.metadata() or {})['wkd_det'])
                names = list(header['class_names'])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path} is no cost file of wkd_det: {error}') from None
    else:
        distance = read_tensor(path)
    _check(distance, names, path)
    return distance.float(), names


def _check(distance: Tensor, names: list[str] | None, path: Path) -> None:
    try:
        check_cost(distance, class_names=names)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
