"""Checks of the values in a spec; each message names the key, the rule and the value got."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wkd_det.ops.checks import is_number


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return a dict.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f'{name} must be a dict, got {value!r}')
    return value


def entries(name: str, value: Any) -> list[Any]:
    """Return a list.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(f'{name} must be a list, got {value!r}')
    return list(value)


def words(name: str, value: Any) -> tuple[str, ...]:
    """Return one word, or a list of words, as a tuple.

    Raises:
        TypeError: If it is anything else.
    """
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(word, str) for word in given):
        raise TypeError(f'{name} must be a string or a list of strings, got {value!r}')
    return tuple(given)


def needed(name: str, section: Mapping[str, Any], *keys: str) -> None:
    """Refuse a section that lacks a key.

    Raises:
        KeyError: With the section and the first key that is missing.
    """
    for key in keys:
        if key not in section:
            raise KeyError(f'{name} lacks {key}')


def existing_config(name: str, path: str) -> str:
    """Return the path of a config that is there, or the name of one in an installed package.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if '::' not in path and not Path(path).is_file():
        raise FileNotFoundError(f'{name} not found: {path} (from {Path.cwd()})')
    return path


def seeds(name: str, values: Any) -> tuple[int, ...]:
    """Return different whole numbers of at least 0.

    Raises:
        ValueError: If they are anything else.
    """
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    if not is_list or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError(f'{name} must be a list of whole numbers of at least 0, got {values!r}')
    if len(set(values)) != len(values):
        raise ValueError(f'{name} must be different numbers, got {values!r}')
    return tuple(values)


def factors(name: str, values: Any) -> tuple[float, ...]:
    """Return at least two positive numbers that grow.

    Raises:
        ValueError: If they are anything else.
    """
    is_list = isinstance(values, (list, tuple)) and len(values) > 1
    if not is_list or not all(is_number(value) and 0 < value < math.inf for value in values):
        raise ValueError(f'{name} must be a list of at least two positive numbers, got {values!r}')
    if list(values) != sorted(set(values)):
        raise ValueError(f'{name} must grow from number to number, got {values!r}')
    return tuple(map(float, values))


def positive(name: str, value: Any) -> int | None:
    """Return a whole number of at least 1, or None for None.

    Raises:
        ValueError: If it is anything else.
    """
    return None if value is None else at_least(1, name, value)


def at_least(least: int, name: str, value: Any) -> int:
    """Return a whole number of at least ``least``.

    Raises:
        ValueError: If it is anything else.
    """
    if type(value) is not int or value < least:
        raise ValueError(f'{name} must be a whole number of at least {least}, got {value!r}')
    return value
