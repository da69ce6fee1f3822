"""Classes of a loss among the classes of a file, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BACKGROUND = 'background'
"""Name of what is no object; in files of distances it stands for the last logit of a box head."""


def wanted_class_names(tap: Any, teacher: Any) -> list[str]:
    """Names of the classes that the logits of ``tap`` stand for, in their order.

    Raises:
        ValueError: If the teacher's checkpoint does not tell.
    """
    names = tap.class_names(teacher)
    if names is None:
        raise ValueError(
            "the teacher's checkpoint has no class names to match: use one that has "
            '(meta.dataset_meta.classes), or distances that go by_position'
        )
    return names


def positions_of(wanted: Sequence[str], available: Sequence[str], holder: str) -> list[int]:
    """Where each wanted class stands among those available.

    Args:
        wanted: Names in the order of the logits.
        available: Names in the order of the rows.
        holder: What errors call the owner of the rows.

    Raises:
        ValueError: If a class is missing; the message names it and what there is.
    """
    position = {name: index for index, name in enumerate(available)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise ValueError(
            f'{holder} has nothing for the class {_some(missing)}; it has {_some(available)}'
        )
    return [position[name] for name in wanted]


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - 8} more' if len(names) > 8 else ''
    return ', '.join(repr(name) for name in names[:8]) + more
