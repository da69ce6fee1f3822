"""Walking many samples a few at a time."""

from __future__ import annotations


def equal_parts(length: int, most: int) -> list[slice]:
    """Cut an axis into as few parts of at most ``most`` as there can be, of about equal length.

    >>> equal_parts(10, 4)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    count = -(-length // max(most, 1))
    return [slice(i * length // count, (i + 1) * length // count) for i in range(count)]
