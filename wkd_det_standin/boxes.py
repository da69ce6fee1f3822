"""Boxes that overlap: suppression, soft suppression, groups of suppressed boxes, overlaps.

Boxes are ``(N, 4)``, corners in pixels. ``offset`` 1 counts the pixel at the far corner too.
Types that torchvision's CPU kernel does not take (float16, bfloat16) are computed in float32.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  defines torch.ops.torchvision
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices ``(K,)`` of the boxes that no better one overlaps by more, best first."""
    boxes, scores = _wide(boxes), _wide(scores)
    return torch.ops.torchvision.nms(_shifted(boxes, offset), scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    *,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the score of each box by its overlap with better ones (Bodla et al., ICCV 2017).

    Args:
        boxes: Boxes ``(N, 4)``.
        scores: Scores ``(N,)``.
        dets: Boxes with their lowered scores ``(N, 5)``; the first K rows are written.
        iou_threshold: Overlap from which on ``'naive'`` and ``'linear'`` lower a score.
        sigma: Width of the Gaussian.
        min_score: Boxes whose score gets lower are dropped.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: See above.

    Returns:
        Indices ``(K,)``, in the order in which the boxes were taken.
    """
    boxes, scores = _wide(boxes), _wide(scores).clone()
    shifted = _shifted(boxes, offset)
    remaining = torch.arange(len(boxes))
    taken = []
    while len(remaining):
        best = int(scores[remaining].argmax())
        index = int(remaining[best])
        dets[len(taken), :4] = boxes[index]
        dets[len(taken), 4] = scores[index]
        taken.append(index)
        remaining = torch.cat([remaining[:best], remaining[best + 1 :]])
        overlap = _overlaps(shifted[index : index + 1], shifted[remaining])[0]
        if method == 2:
            factor = torch.exp(-overlap.square() / sigma)
        else:
            lowered = 1 - overlap if method == 1 else torch.zeros_like(overlap)
            factor = torch.where(overlap >= iou_threshold, lowered, torch.ones_like(overlap))
        scores[remaining] *= factor
        remaining = remaining[scores[remaining] >= min_score]
    return torch.tensor(taken, dtype=torch.long)


def nms_match(dets: Tensor, *, iou_threshold: float) -> list[list[int]]:
    """Return each box that suppression keeps with those that it suppresses, best first.

    Args:
        dets: Boxes with scores ``(N, 5)``.
        iou_threshold: Overlap from which on a box is suppressed.
    """
    dets = _wide(dets)
    order = dets[:, 4].argsort(descending=True)
    groups = []
    while len(order):
        first, others = order[:1], order[1:]
        joins = _overlaps(dets[first, :4], dets[others, :4])[0] >= iou_threshold
        groups.append([*first.tolist(), *others[joins].tolist()])
        order = others[~joins]
    return groups


def bbox_overlaps(
    boxes: Tensor, others: Tensor, overlaps: Tensor, *, mode: int, aligned: bool, offset: int
) -> None:
    """Write the overlap of every pair of boxes, or of boxes with the same index.

    Args:
        boxes: Boxes ``(N, 4)``.
        others: Boxes ``(M, 4)``.
        overlaps: Where the result is written: ``(N, M)``, or ``(N,)`` if aligned.
        mode: 0 intersection over union, 1 intersection over the area of ``boxes``.
        aligned: Whether only pairs of the same index are compared.
        offset: See above.
    """
    first, second = _shifted(_wide(boxes), offset), _shifted(_wide(others), offset)
    overlaps.copy_(_overlaps(first, second, aligned=aligned, over_first=mode == 1))


def _overlaps(
    first: Tensor, second: Tensor, *, aligned: bool = False, over_first: bool = False
) -> Tensor:
    if not aligned:
        first, second = first[:, None], second[None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area, other = ((box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (first, second))
    return shared / (area if over_first else area + other - shared)


def _shifted(boxes: Tensor, offset: int) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1) if offset else boxes


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
