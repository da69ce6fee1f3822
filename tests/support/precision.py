"""Precisions that this torch has on the CPU."""

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
