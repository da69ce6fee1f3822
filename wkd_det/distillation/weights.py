"""Weights of the comparisons of one term."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wkd_det.functional.number_check import is_number


def check_weights(name: str, weights: Sequence[float] | None, count: int, unit: str) -> None:
    """Refuse weights that are no list of finite numbers >= 0, one for each comparison.

    Args:
        name: Of the option.
        weights: None stands for the mean.
        count: Number of comparisons.
        unit: What each comparison is, e.g. ``'stage'``.

    Raises:
        ValueError: Naming the option.
    """
    if weights is None:
        return
    numbers = isinstance(weights, Sequence) and all(
        is_number(weight) and 0 <= weight < math.inf for weight in weights
    )
    if not numbers or len(weights) != count:
        raise ValueError(
            f'{name} must be {count} numbers >= 0, one for each {unit}, got {weights!r}'
        )
