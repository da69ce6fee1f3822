"""What else than tensors a checkpoint may hold."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine's runner writes, and no more.

    Beside tensors, a training checkpoint of mmengine holds ``HistoryBuffer`` objects (the log)
    with numpy arrays and scalars in them. From torch 2.6 on, mmengine's own ``--resume`` and
    tests load with ``weights_only=True`` and fail without this.
    """
    if not hasattr(torch.serialization, 'add_safe_globals'):  # torch < 2.4: never the default
        return
    rebuild = np.zeros(1).__reduce__()[0]  # numpy's array constructor, wherever this version has it
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u8', '?')}
    torch.serialization.add_safe_globals(
        [HistoryBuffer, np.ndarray, np.dtype, rebuild, scalar, *dtypes]
    )
