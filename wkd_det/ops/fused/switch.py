"""When a fused kernel takes the place of plain PyTorch: only where it is asked for and holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor

VARIABLE = 'WKD_DET_FUSED'
"""Environment variable, read once: 1 asks for the kernels, 0 or nothing for plain PyTorch."""
MOST_CLASSES = 128
"""Classes for which WKD-L has a fused kernel: more do not fit into the registers of a program."""
_NARROW = (torch.float32, torch.float16, torch.bfloat16)
_CAPABILITY = (8, 0)  # the first that triton supports


def read_switch(value: str | None) -> bool:
    """Return whether fused kernels are asked for.

    Args:
        value: Value of :data:`VARIABLE`, None where it is not set.

    Raises:
        ValueError: If it is neither 0 nor 1.

    >>> read_switch('1'), read_switch('0'), read_switch(None)
    (True, False, False)
    """
    if value not in (None, '0', '1'):
        raise ValueError(f'{VARIABLE} must be 0 or 1, got {value!r}')
    return value == '1'


_asked = read_switch(os.environ.get(VARIABLE))
_has_triton = find_spec('triton') is not None


@contextmanager
def fused_kernels(asked: bool) -> Iterator[None]:
    """Ask for the kernels, or for plain PyTorch, inside a ``with`` block, to compare them."""
    global _asked
    before, _asked = _asked, asked
    try:
        yield
    finally:
        _asked = before


def takes_fused(*tensors: Tensor) -> bool:
    """Return whether fused kernels are asked for and can read the tensors.

    That is so where triton is installed and the tensors have entries, at most 32 bits for each, and
    lie on one GPU of NVIDIA of compute capability 8.0 or later.
    """
    return (
        _asked
        and _has_triton
        and len({tensor.device for tensor in tensors}) == 1
        and all(tensor.dtype in _NARROW and tensor.numel() > 0 for tensor in tensors)
        and has_kernels(tensors[0].device)
    )


def has_kernels(device: torch.device) -> bool:
    """Return whether the kernels are made for a device."""
    return (
        device.type == 'cuda'
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= _CAPABILITY
    )
