"""Groups that classes are known to belong to, such as COCO's supercategories."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from wkd_det.interrelation.class_matching import BACKGROUND, positions_of

_SHIPPED = Path(__file__).parent / 'groupings'


def shipped_groupings() -> list[str]:
    """Names of the groupings that come with the package.

    Example:
        >>> shipped_groupings()
        ['cifar100', 'coco']
    """
    return sorted(path.stem for path in _SHIPPED.glob('*.json'))


def read_grouping(source: str | os.PathLike) -> dict[str, str]:
    """Group of each class, in the order of the classes.

    Args:
        source: ``'coco'`` (80 classes, 12 supercategories), ``'cifar100'`` (100 classes, 20
            superclasses), or a JSON file ``{class: group}``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.

    Example:
        >>> grouping = read_grouping('coco')
        >>> len(grouping), grouping['zebra']
        (80, 'animal')
    """
    shipped = str(source) in shipped_groupings()
    path = _SHIPPED / f'{source}.json' if shipped else Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f'grouping not found: {path} (from {os.getcwd()}); shipped ones are '
            f'{", ".join(shipped_groupings())}'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON file: {error}') from None
    if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
        raise ValueError(f'{path} must hold one dict {{class: group}} of names')
    return content


def groups_of(class_names: Sequence[str], grouping: dict[str, str], holder: str) -> list[str]:
    """Group of each class by name; background is a group of its own.

    Raises:
        ValueError: If a class has no group; the message names it.
    """
    known = {BACKGROUND: BACKGROUND, **grouping}
    positions_of(class_names, list(known), holder)
    return [known[name] for name in class_names]
