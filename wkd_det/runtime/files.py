"""Writing files that are there completely or not at all."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file that is never seen half written.

    The bytes go to ``.<name>.partial`` beside it, which then takes the name. What stood there
    before stays readable until that moment, and stays for good if the write fails.

    Args:
        path: The file; its folder is made if it is missing.
        content: All of it.

    Raises:
        OSError: If the disk is full or the place cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the bytes
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)


def read_tensor(path: str | os.PathLike) -> Tensor:
    """Read a file that holds one tensor; errors as in :func:`read_checkpoint`."""
    content = _read(Path(path))
    if not isinstance(content, Tensor):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a tensor')
    return content


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint not found: {path} (from {os.getcwd()})')
    if path.stat().st_size == 0:
        raise ValueError(f'{path} is empty')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open('rb') as file:
            start = file.read(64).lstrip().lower()
        if start.startswith((b'<!doctype', b'<html', b'<?xml', b'{')):
            raise ValueError(
                f'{path} is a text page, not a checkpoint: the download went wrong, remove the '
                'file and fetch it again'
            ) from None
        raise ValueError(
            f'{path} was refused: it is damaged or holds more than weights, and reading it might '
            f'run code. {_first_line(error)}'
        ) from None
    except Exception as error:  # damaged bytes end in IndexError, struct.error and many more
        raise ValueError(f'{path} is damaged or no checkpoint: {_first_line(error)}') from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if 'GLOBAL' in line or line.startswith('Unsupported')]
    return (named or lines or [type(error).__name__])[0][:300]


def write_json(path: Path, content: Any) -> None:
    """Write ``content``, making the folder; an interruption leaves the previous file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.partial')
    partial.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    partial.replace(path)


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding='utf-8'))
