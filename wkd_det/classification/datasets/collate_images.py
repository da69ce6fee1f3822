"""A batch from its images."""

from __future__ import annotations

from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import default_collate


@FUNCTIONS.register_module()
def collate_images(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Images ``(N, 3, H, W)`` and labels ``(N,)``; skipped images are left out.

    Raises:
        ValueError: If none is left.
    """
    left = [sample for sample in samples if sample is not None]
    if not left:
        raise ValueError(f'none of the {len(samples)} images of a batch decodes')
    return default_collate(left)
