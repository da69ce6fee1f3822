"""Random integers that every version of Python draws alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any


class Draws:
    """Random integers that are the same for every version of Python.

    Args:
        *key: Values that decide the draws, e.g. a seed and a purpose.
    """

    def __init__(self, *key: Any) -> None:
        digest = hashlib.sha256(' '.join(map(str, key)).encode()).digest()
        # Python promises the sequence of random() for a seed, and of no other method.
        self._random = Random(int.from_bytes(digest, 'big')).random

    def below(self, stop: int) -> int:
        """Return an integer from 0 to ``stop - 1``."""
        return int(self._random() * stop)

    def between(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def shuffled(self, values: Sequence[Any]) -> list[Any]:
        """Return the values in random order."""
        values = list(values)
        for last in range(len(values) - 1, 0, -1):
            other = self.below(last + 1)
            values[last], values[other] = values[other], values[last]
        return values

    def weighted(self, weights: Sequence[int]) -> int:
        """Return an index, drawn in proportion to its weight."""
        left = self.below(sum(weights))
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        raise AssertionError('weights are positive integers')
