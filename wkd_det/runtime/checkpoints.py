"""Checkpoints behind a path, an address or a library's name, read without running their code."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, is_distributed
from mmengine.logging import HistoryBuffer

from wkd_det.runtime.files import TORCH_READS_SAFELY, read_saved, reason

TORCHVISION, TIMM = 'torchvision://', 'timm://'


def read_checkpoint(source: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint file, or one behind an address (kept in torch's hub cache).

    Args:
        source: Path (of ``torch.save`` or of safetensors), http(s) address, or
            ``torchvision://NAME`` or ``timm://NAME`` for weights that these libraries publish.

    Returns:
        The content of the file, a dict, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If it cannot be downloaded.
        ValueError: If the file is no checkpoint, or holds objects that loading would have to run.
    """
    if str(source).startswith(TIMM):
        return timm_weights(str(source))
    if str(source).startswith(TORCHVISION):
        source = torchvision_address(str(source))
    content = read_saved(_local(source), allowed_in_checkpoints())
    if not isinstance(content, dict):
        raise ValueError(f'{source} holds a {type(content).__name__}, not a dict of weights')
    return content


def torchvision_address(source: str) -> str:
    """Return the http address behind ``torchvision://NAME``.

    Args:
        source: ``NAME`` is a set of weights (``ResNet34_Weights.IMAGENET1K_V1``), or a model
            (``resnet34``), which stands for its best ones.

    Raises:
        ValueError: If torchvision knows no such weights.
    """
    from torchvision.models import get_model_weights, get_weight

    name = source[len(TORCHVISION) :]
    try:
        weights = get_weight(name) if '.' in name else get_model_weights(name).DEFAULT
    except (AttributeError, KeyError, ValueError):
        raise ValueError(
            f'torchvision has no weights {name!r}: name a model (torchvision://resnet34) or a set '
            'of weights (torchvision://ResNet34_Weights.IMAGENET1K_V1)'
        ) from None
    return weights.url


def timm_weights(source: str) -> dict[str, Any]:
    """Return the weights behind ``timm://NAME``, fetched by timm (kept in its own cache).

    Args:
        source: ``NAME`` is a model of timm, perhaps with a tag (``resnet18.a1_in1k``).

    Raises:
        ImportError: If timm is not installed.
        ValueError: If timm has no weights of that name.
    """
    try:
        import timm
    except ImportError:
        raise ImportError(f'{source} needs timm: pip install timm') from None
    name = source[len(TIMM) :]
    if not timm.is_model(name) or not timm.get_pretrained_cfg(name).has_weights:
        raise ValueError(f'timm has no weights {name!r}; timm.list_pretrained() lists those it has')
    return timm.create_model(name, pretrained=True).state_dict()


def _local(source: str | os.PathLike) -> Path:
    path = _download(str(source)) if str(source).startswith(('http://', 'https://')) else source
    return Path(path).expanduser()


def _download(address: str) -> Path:
    """Return the path of the file behind an address, fetched once by one process per machine.

    All processes learn how it went before any goes on or stops.

    Raises:
        ConnectionError: In every process, if one could not fetch the file.
    """
    # Torch's cache knows files by their last name alone, which many addresses share.
    place = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = Path(torch.hub.get_dir()) / 'checkpoints' / place / address.rsplit('/', 1)[-1]
    fault = None
    # Processes that have not met yet cannot wait for one of them; torch renames a finished file.
    if is_first_of_machine() and not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path))
        except Exception as error:
            fault = f'{address} could not be downloaded: {reason(error)}'
    faults = [found for found in all_gather_object(fault) if found is not None]
    if faults:
        raise ConnectionError(faults[0])
    return path


def is_first_of_machine() -> bool:
    """Whether this process is the first one on its machine, or alone; all processes must ask.

    Launchers say it (``LOCAL_RANK``) or, as mpi does, do not: then machines are known by their
    host names.
    """
    if not is_distributed():
        return True
    host, local = socket.gethostname(), os.environ.get('LOCAL_RANK')
    firsts: dict[str, int] = {}
    for rank, (other, number) in enumerate(all_gather_object((host, local))):
        if number is None:
            firsts.setdefault(other, rank)
    return firsts[host] == get_rank() if local is None else int(local) == 0


_STATISTICS = ('min', 'max', 'current', 'mean')
_DTYPES = {type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u8', '?')}


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what training loops write, and no more.

    From torch 2.6 on, mmengine's own ``--resume`` and tests load so and fail without this. Before,
    torch has no list of names to extend, and mmengine does not ask for one. Our own readers need
    no call: they see to the list at each read.
    """
    if TORCH_READS_SAFELY:
        names = [(known, name) for name, known in allowed_in_checkpoints().items()]
        torch.serialization.add_safe_globals(names)


@functools.cache
def allowed_in_checkpoints() -> dict[str, Any]:
    """Return what checkpoints may hold in addition to tensors, by the names in pickles.

    A training checkpoint of mmengine holds ``HistoryBuffer`` objects (the log) with numpy arrays,
    numpy scalars and references to four methods of that class; one of torchvision's references
    and of torchdistill an ``argparse.Namespace``, which is plain data.
    """
    scalar = np.float64(0).__reduce__()[0]
    allowed = {f'{kind.__module__}.{kind.__qualname__}': kind for kind in _DTYPES}
    for core in ('core', '_core'):  # of numpy 1 and 2
        allowed[f'numpy.{core}.multiarray._reconstruct'] = _empty_array
        allowed[f'numpy.{core}.multiarray.scalar'] = scalar
    return {
        **allowed,
        'argparse.Namespace': argparse.Namespace,
        f'{HistoryBuffer.__module__}.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _history_buffer_method,
        'ndarray': np.ndarray,  # may be filled, but no pickle can spell a name without a dot
        'numpy.ndarray': _array_type,
        'numpy.dtype': _plain_dtype,
    }


def _history_buffer_method(owner: object, name: str) -> Callable:
    """Stand in for ``getattr``, which pickles of ``HistoryBuffer`` call on the class.

    Raises:
        ValueError: For any attribute but the four that mmengine refers to.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'a checkpoint asks for the attribute {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def _array_type(*args: Any, **kwargs: Any) -> None:
    """Stand in for ``numpy.ndarray``, which could be called on forged object pointers.

    Raises:
        ValueError: Always; pickles of arrays only name the type.
    """
    raise ValueError('a checkpoint asks to make an array of its own bytes')


def _empty_array(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    """Stand in for numpy's constructor; the contents follow by ``__setstate__``."""
    return np.ndarray((0,), 'b')


def _plain_dtype(kind: Any, align: bool = False, copy: bool = False) -> np.dtype:
    """Stand in for ``numpy.dtype``: numbers only, since others can hold forged pointers.

    Returns numpy's own constants, whatever ``copy`` says: on a copy the pickle's state would be
    set, and could forge fields beyond the data or claim that numbers are pointers. Constants
    ignore it, the byte order too, so arrays are taken to be in that of this machine.

    Raises:
        ValueError: For anything but the code of a number in native byte order.
    """
    if not isinstance(kind, str) or type(np.dtype(kind)) not in _DTYPES:
        raise ValueError(f'a checkpoint asks for numpy data of type {kind!r}')
    plain = np.dtype(np.dtype(kind).type)
    if plain != np.dtype(kind):
        raise ValueError(f'a checkpoint asks for numpy data of type {kind!r}')
    return plain
