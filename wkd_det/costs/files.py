"""Files of class distances, and files of prototypes to measure them on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wkd_det.costs.matrix import check_distance
from wkd_det.runtime.files import read_tensor, write_whole

_SUFFIX = '.safetensors'
_PROTOTYPE_FORMATS = (
    "an .npz file with the arrays 'names' (C strings) and 'prototypes' (C, D), or a .safetensors "
    "file with the tensor 'prototypes' and the metadata 'names', a JSON list"
)


@dataclass(frozen=True)
class CostFile:
    """Content of a file of class distances."""

    distance: Tensor
    """``1 - similarity``, float32, shape ``(C, C)``."""
    class_names: list[str] | None
    """In the order of the rows; None where the file has no names."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """How it was made: method, teacher, counts, ...; empty where the file does not say."""


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
        distance: ``1 - similarity``, shape ``(C, C)``.
        class_names: ``C`` different names in the order of the rows; one of them
            ``'background'`` if the matrix covers it.
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
    """Return the path of a file to write, after checking its suffix.

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
            one matrix of distances, as the reference repository ships.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or holds no matrix of distances.
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


def read_prototypes(path: str | os.PathLike) -> tuple[Tensor, list[str]]:
    """Read prototypes and the names of their classes; nothing in the file is run.

    Args:
        path: An ``.npz`` file with the arrays ``names`` (``C`` strings) and ``prototypes``
            ``(C, D)``, or a ``.safetensors`` file with the tensor ``prototypes`` and the
            metadata ``names``, a JSON list.

    Returns:
        Prototypes, float64, shape ``(C, D)``, and ``C`` different names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is something else, or names and prototypes do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'prototype file not found: {path} (from {os.getcwd()})')
    readers = {'.npz': _read_npz, '.safetensors': _read_safetensors}
    if path.suffix not in readers:
        raise ValueError(f'prototypes come from {_PROTOTYPE_FORMATS}; got {path}')
    try:
        prototypes, names = readers[path.suffix](path)
    except (BadZipFile, EOFError, KeyError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is not {_PROTOTYPE_FORMATS}: {error}') from None
    if prototypes.dim() != 2 or len(prototypes) != len(names) or len(set(names)) != len(names):
        raise ValueError(
            f'{path}: prototypes must have one row for each of different names, got the shape '
            f'{tuple(prototypes.shape)} and {len(names)} names, {len(set(names))} of them different'
        )
    return prototypes.double(), names


def _read_npz(path: Path) -> tuple[Tensor, list[str]]:
    with np.load(path, allow_pickle=False) as arrays:
        prototypes = np.asarray(arrays['prototypes'], dtype=np.float64)
        return torch.from_numpy(prototypes), [str(name) for name in arrays['names']]


def _read_safetensors(path: Path) -> tuple[Tensor, list[str]]:
    with safe_open(path, framework='pt') as file:
        names = json.loads((file.metadata() or {})['names'])
        return file.get_tensor('prototypes'), [str(name) for name in names]


def _check(distance: Tensor, names: list[str] | None, path: Path) -> None:
    try:
        check_distance(distance, class_names=names)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
