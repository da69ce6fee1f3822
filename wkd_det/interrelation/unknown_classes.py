"""Distances of classes of which nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def with_unknown_classes(
    distance: Tensor, known: Sequence[int], num_classes: int, *, value: float | None = None
) -> tuple[Tensor, float]:
    """Place measured distances among all classes; the others get one distance to everything.

    Convention:
        A class of which nothing is known is neither near nor far: its distance to every other
        class is the median of the measured ones (the lower middle one of an even number), so
        transport prefers no class for it and costs what it costs between two typical classes.

    Args:
        distance: Between the known classes, shape ``(K, K)``.
        known: Positions of these among all classes, ``K >= 2`` of them.
        num_classes: Of all classes, ``C``.
        value: Distance of the others in place of the median.

    Returns:
        Shape ``(C, C)``, and the distance that the unknown classes got.

    Raises:
        ValueError: If the number of positions is not that of rows, or fewer than two are known.

    Example:
        >>> known = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
        >>> with_unknown_classes(known, [0, 2], 3)[0]
        tensor([[0.0000, 0.5000, 0.5000],
                [0.5000, 0.0000, 0.5000],
                [0.5000, 0.5000, 0.0000]])
    """
    if len(known) != len(distance) or len(known) < 2:
        raise ValueError(
            f'known must be the positions of at least 2 classes, one per row of distance '
            f'({len(distance)}), got {len(known)}'
        )
    if value is None:
        row, column = torch.triu_indices(len(known), len(known), 1)
        value = distance[row, column].median().item()
    whole = distance.new_full((num_classes, num_classes), value).fill_diagonal_(0)
    index = torch.as_tensor(known)
    whole[index[:, None], index] = distance
    return whole, value
