"""Rows of a batch: some of its samples, taken from whatever has one row per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def chosen_rows(value: Any, rows: Tensor | slice, count: int) -> Any:
    """Return rows of what has one per sample, also within lists, tuples and dicts.

    All else is returned as it is.

    Args:
        value: Tensors ``(count, ...)`` among other things.
        rows: Indices ``(M,)``, or a slice, which copies nothing.
        count: Number of samples.

    >>> chosen_rows((torch.tensor([5, 6, 7]), 'else'), slice(1, 3), 3)
    (tensor([6, 7]), 'else')
    """
    if isinstance(value, Tensor):
        if value.dim() == 0 or len(value) != count:
            return value
        # A GPU is not waited for.
        own = rows if isinstance(rows, slice) else rows.to(value.device, non_blocking=True)
        return value[own]
    if isinstance(value, dict):
        return {key: chosen_rows(one, rows, count) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(chosen_rows(one, rows, count) for one in value)
    return value


class Rows:
    """Some samples of a batch, by their places in it.

    Args:
        places: Rising places of the samples.
        count: Number of samples of the batch.
    """

    def __init__(self, places: Sequence[int], count: int) -> None:
        self.places = list(places)
        self.count = count
        first = self.places[0] if self.places else 0
        after = first + len(self.places)
        neighbours = self.places == list(range(first, after))
        self._rows = slice(first, after) if neighbours else torch.tensor(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def of(self, value: Any) -> Any:
        """Return these rows, as :func:`chosen_rows`; those of neighbours are a view."""
        return chosen_rows(value, self._rows, self.count)
