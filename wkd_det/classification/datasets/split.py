"""Parts of a data set."""

from __future__ import annotations

from collections.abc import Sequence


def check_split(split: str, valid: Sequence[str]) -> None:
    """Refuse a part that the data set does not have.

    Raises:
        ValueError: With the valid ones.
    """
    if split not in valid:
        raise ValueError(f'split must be one of {tuple(valid)}, got {split!r}')
