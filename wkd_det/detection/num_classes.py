"""Number of classes of a detector."""

from __future__ import annotations

from torch import nn


def num_classes(model: nn.Module) -> int | None:
    """Number of object classes of a detector, or None where it does not tell."""
    roi_head = getattr(model, 'roi_head', None)
    head = getattr(model, 'bbox_head', None) if roi_head is None else roi_head.bbox_head
    if isinstance(head, nn.ModuleList):
        head = head[0]
    return getattr(head, 'num_classes', None)
