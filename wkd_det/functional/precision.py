"""Arithmetic precision of the losses."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def promote(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring tensors to one floating type of at least 32 bits.

    Half precision becomes float32; float64 wins when any argument has it, so that gradient
    checks run in float64 throughout.

    >>> a, b = promote(torch.ones(1, dtype=torch.float16), torch.ones(1, dtype=torch.bfloat16))
    >>> a.dtype, b.dtype
    (torch.float32, torch.float32)
    """
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    dtype = torch.float64 if double else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Switch autocast off on the device of ``tensor``."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
