"""Reading checkpoints without running what is in them."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, is_distributed
from torch import Tensor

from wkd_det.checkpoint.library_weights import TIMM, TORCHVISION, timm_weights, torchvision_address


def read_checkpoint(source: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint file, or one behind an address (kept in torch's hub cache).

    Args:
        source: Path, http(s) address, or ``torchvision://NAME`` or ``timm://NAME`` for weights
            that these libraries publish.

    Returns:
        What the file holds, a dict, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If it cannot be downloaded.
        ValueError: If the file is no checkpoint, or holds objects that loading would have to run.
    """
    if str(source).startswith(TIMM):
        return timm_weights(str(source))
    if str(source).startswith(TORCHVISION):
        source = torchvision_address(str(source))
    content = _read(_local(source))
    if not isinstance(content, dict):
        raise ValueError(f'{source} holds a {type(content).__name__}, not a dict of weights')
    return content


def read_tensor(path: str | os.PathLike) -> Tensor:
    """Read a file that holds one tensor; errors as in :func:`read_checkpoint`."""
    content = _read(Path(path))
    if not isinstance(content, Tensor):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a tensor')
    return content


def _local(source: str | os.PathLike) -> Path:
    path = _download(str(source)) if str(source).startswith(('http://', 'https://')) else source
    return Path(path).expanduser()


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


def _download(address: str) -> Path:
    """Path of the file behind an address, fetched once by one process of each machine.

    All processes learn how it went before any goes on or stops.

    Raises:
        ConnectionError: In every process, if one could not fetch the file.
    """
    # Torch's cache knows files by their last name alone, which many addresses share.
    place = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = Path(torch.hub.get_dir()) / 'checkpoints' / place / address.rsplit('/', 1)[-1]
    fault = None
    # Processes that have not met yet cannot wait for one of them; torch renames a finished file.
    mine = not is_distributed() or int(os.environ.get('LOCAL_RANK', get_rank())) == 0
    if mine and not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path))
        except Exception as error:
            fault = f'{address} could not be downloaded: {_first_line(error)}'
    faults = [found for found in all_gather_object(fault) if found is not None]
    if faults:
        raise ConnectionError(faults[0])
    return path
