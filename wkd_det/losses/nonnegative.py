"""Check of the numbers that weigh a loss."""

from __future__ import annotations


def check_nonnegative(**weights: float) -> None:
    """Refuse negative numbers and NaN.

    Raises:
        ValueError: Naming the argument.
    """
    for name, value in weights.items():
        if not value >= 0:
            raise ValueError(f'{name} must not be negative, got {value}')
