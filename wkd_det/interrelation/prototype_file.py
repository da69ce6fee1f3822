"""Files of class prototypes that the user brings, such as text embeddings of the class names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_FORMATS = (
    "an .npz file with the arrays 'names' (C strings) and 'prototypes' (C, D), or a .safetensors "
    "file with the tensor 'prototypes' and the metadata 'names', a JSON list"
)


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
        ValueError: If it is something else, or names and prototypes do not fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'prototype file not found: {path} (from {os.getcwd()})')
    readers = {'.npz': _read_npz, '.safetensors': _read_safetensors}
    if path.suffix not in readers:
        raise ValueError(f'prototypes come from {_FORMATS}; got {path}')
    try:
        prototypes, names = readers[path.suffix](path)
    except (BadZipFile, EOFError, KeyError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is not {_FORMATS}: {error}') from None
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
