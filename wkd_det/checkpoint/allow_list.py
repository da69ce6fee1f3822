"""What else than tensors a checkpoint may hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

_STATISTICS = ('min', 'max', 'current', 'mean')


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine's runner writes, and no more.

    Beside tensors, a training checkpoint of mmengine holds ``HistoryBuffer`` objects (the log)
    with numpy arrays, numpy scalars and references to four methods of that class. From torch 2.6
    on, mmengine's own ``--resume`` and tests load with ``weights_only=True`` and fail without
    this; before, torch knows no allow-list of this kind and mmengine does not ask for one.
    """
    if digit_version(torch.__version__) < digit_version('2.6'):
        return
    rebuild = np.zeros(1).__reduce__()[0]  # numpy's constructor, wherever this version has it
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u8', '?')}
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *dtypes,
            *((rebuild, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
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
