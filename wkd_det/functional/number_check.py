"""Checks of options that are numbers."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def check_nonnegative(**values: Any) -> None:
    """Refuse all but finite numbers of at least 0 (True, False and tensors are no numbers).

    Raises:
        ValueError: Naming the one that is something else.

    >>> check_nonnegative(loss_weight=-1)
    Traceback (most recent call last):
    ValueError: loss_weight must not be negative, got -1
    """
    for name, value in values.items():
        _check_is_number(name, value)
        if not value >= 0:
            raise ValueError(f'{name} must not be negative, got {value}')
        _check_is_finite(name, value)


def check_positive(**values: Any) -> None:
    """Refuse all but finite numbers above 0 (True, False and tensors are no numbers).

    Raises:
        ValueError: Naming the one that is something else.
    """
    for name, value in values.items():
        _check_is_number(name, value)
        if not value > 0:
            raise ValueError(f'{name} must be positive, got {value}')
        _check_is_finite(name, value)


def check_integers(least: int = 1, /, **values: Any) -> None:
    """Refuse all but integers of at least ``least``.

    Raises:
        ValueError: Naming the one that is something else.

    >>> check_integers(grid=True)
    Traceback (most recent call last):
    ValueError: grid must be an integer of at least 1, got True
    """
    for name, value in values.items():
        if not is_integer(value, least):
            raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')


def is_integer(value: Any, least: int) -> bool:
    """Whether it is an integer of at least ``least``; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether it is a real number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_is_number(name: str, value: Any) -> None:
    if not is_number(value):
        raise ValueError(f'{name} must be a number, got {value!r}')


def _check_is_finite(name: str, value: Real) -> None:
    if value == math.inf:
        raise ValueError(f'{name} must be finite, got {value}')
