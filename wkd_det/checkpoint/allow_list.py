"""What else than tensors a checkpoint may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

_STATISTICS = ('min', 'max', 'current', 'mean')
_DTYPES = {type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u8', '?')}


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine's runner writes, and no more.

    Beside tensors, a training checkpoint of mmengine holds ``HistoryBuffer`` objects (the log)
    with numpy arrays, numpy scalars and references to four methods of that class. From torch 2.6
    on, mmengine's own ``--resume`` and tests load with ``weights_only=True`` and fail without
    this; before, torch knows no allow-list of this kind and mmengine does not ask for one.
    """
    if digit_version(torch.__version__) < digit_version('2.6'):
        return
    scalar = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (np.ndarray, 'ndarray'),  # may be filled, but no pickle can spell a name without a dot
            (_array_type, 'numpy.ndarray'),
            (_plain_dtype, 'numpy.dtype'),
            *_DTYPES,
            *(
                (_empty_array, f'numpy.{core}.multiarray._reconstruct')
                for core in ('core', '_core')
            ),
            *((scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
            (_history_buffer_method, 'builtins.getattr'),
        ]
    )


def _history_buffer_method(owner: object, name: str) -> Callable:
    """Stands in for ``getattr``, which pickles of ``HistoryBuffer`` call on the class.

    Raises:
        ValueError: For any attribute but the four that mmengine refers to.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'a checkpoint asks for the attribute {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def _array_type(*args: Any, **kwargs: Any) -> None:
    """Stands in for ``numpy.ndarray``, which could be called on forged object pointers.

    Raises:
        ValueError: Always; pickles of arrays only name the type.
    """
    raise ValueError('a checkpoint asks to make an array of its own bytes')


def _empty_array(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    """Stands in for numpy's constructor; the contents follow by ``__setstate__``."""
    return np.ndarray((0,), 'b')


def _plain_dtype(kind: Any, align: bool = False, copy: bool = False) -> np.dtype:
    """Stands in for ``numpy.dtype``: numbers only, since others can hold forged pointers.

    Gives numpy's own constants, whatever ``copy`` says: on a copy the pickle's state would be
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
