"""What torchvision's RoIAlign takes: old versions no bfloat16 under autocast."""

from __future__ import annotations

import torch
from torchvision.ops import roi_align


def pools_under_autocast() -> bool:
    """Whether a detector that is given maps of bfloat16 under autocast can pool them."""
    maps, rois = torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16), torch.zeros(1, 5)
    try:
        with torch.autocast('cpu', torch.bfloat16):
            roi_align(maps, rois, 1)
    except RuntimeError:
        return False
    return True
