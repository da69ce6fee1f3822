"""Types of numbers that this torch has on the CPU."""

import pytest
import torch


def _casts(dtype):
    try:
        with torch.autocast('cpu', dtype=dtype):
            torch.ones(1, 1) @ torch.ones(1, 1)
    except RuntimeError:
        return False
    return True


AUTOCAST = [dtype for dtype in (torch.bfloat16, torch.float16) if _casts(dtype)]
"""Those of autocast: float16 is one of them from torch 2.3 on."""
UINT16 = getattr(torch, 'uint16', None)
"""Pixels of 16 bits as torch has them from 2.3 on."""
needs_uint16 = pytest.mark.skipif(UINT16 is None, reason='torch has no uint16')
