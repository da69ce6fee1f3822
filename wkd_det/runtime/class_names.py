"""Class names: read from the metainfo of data sets and checkpoints, and matched by spelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def names_in(metainfo: Any, holder: str = 'the joined data sets') -> list[str] | None:
    """Return the class names of a data set's metainfo.

    MMDetection's ``ConcatDataset`` has a list of metainfos as soon as those of its parts differ in
    any key. Its names are known if all parts agree on them, up to their :func:`spelling`.

    Args:
        metainfo: A dict with ``classes`` (``CLASSES`` in MMDetection 2), a list of such dicts, or
            None.
        holder: Owner of the metainfo, for the message.

    Returns:
        Those of the first part; None if a part has no names.

    Raises:
        ValueError: If parts name different classes; with two of them.
    """
    if isinstance(metainfo, Sequence) and not isinstance(metainfo, str):
        parts = [names_in(part, holder) for part in metainfo]
        known = [part for part in parts if part is not None]
        for part in known[1:]:
            if not same_names(part, known[0]):
                raise ValueError(
                    f'{holder} name different classes, so a label does not say which class it is: '
                    f'{known[0]} and {part}'
                )
        return parts[0] if parts and len(known) == len(parts) else None
    if not isinstance(metainfo, Mapping):
        return None
    classes = metainfo.get('classes') or metainfo.get('CLASSES')
    if isinstance(classes, str):
        return [classes]
    if isinstance(classes, Sequence) and classes:
        return [str(name) for name in classes]
    return None


def checkpoint_class_names(checkpoint: Mapping[str, Any]) -> list[str] | None:
    """Return the class names that a checkpoint of MMDetection (2.x or 3.x) carries, or None.

    Raises:
        ValueError: If it was trained on joined data sets that name different classes.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, Mapping):
        return None
    return names_in(meta.get('dataset_meta') or meta, "the data sets of the teacher's checkpoint")


def check_unique(names: Sequence[str], holder: str) -> None:
    """Refuse names that occur twice, which cannot be matched.

    Raises:
        ValueError: Naming them and their holder.
    """
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f'{holder} has more than one class called {", ".join(twice)}: classes are matched by '
            'name, so each name must occur once'
        )


def spelling(name: str) -> str:
    """Return a name without what its spellings differ in: case, blanks, ``_`` and ``-``.

    >>> spelling('Traffic_Light') == spelling('traffic light')
    True
    """
    return ''.join(name.casefold().replace('_', ' ').replace('-', ' ').split())


def same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two lists name the same classes in the same order, in any spelling.

    A name that stands in both lists as it is stands for itself: ``cat, dog, Dog`` and
    ``cat, Dog, dog`` are in different orders.
    """
    if [spelling(name) for name in names] != [spelling(name) for name in others]:
        return False
    pairs = [(own, other) for own, other in zip(names, others) if own != other]
    return not any(own in others or other in names for own, other in pairs)


def positions_by_name(
    wanted: Sequence[str], available: Sequence[str], wanted_by: str, holder: str
) -> list[int | None]:
    """Return the position of each wanted name among those available, None where there is none.

    Names are compared as they stand. Those that are not found so are compared by their
    :func:`spelling` with the available names that are left, if that is unambiguous.

    Args:
        wanted: Names to find.
        available: Names to find them among.
        wanted_by: Owner of the former, for the message.
        holder: Owner of the latter, for the message.

    Raises:
        ValueError: If a wanted name occurs twice, here or there.

    Example:
        >>> positions_by_name(['stop sign', 'cat'], ['cat', 'Stop_sign'], 'one', 'the other')
        [1, 0]
    """
    check_unique(wanted, wanted_by)
    sought = set(map(spelling, wanted))
    check_unique([name for name in available if spelling(name) in sought], holder)
    exact = {name: index for index, name in enumerate(available)}
    found = [exact.get(name) for name in wanted]
    taken = {index for index in found if index is not None}
    loose: dict[str, list[int]] = {}
    for index, name in enumerate(available):
        if index not in taken:
            loose.setdefault(spelling(name), []).append(index)
    asked = Counter(spelling(name) for name, index in zip(wanted, found) if index is None)
    for place, name in enumerate(wanted):
        if found[place] is None and asked[spelling(name)] == 1:
            candidates = loose.get(spelling(name), [])
            found[place] = candidates[0] if len(candidates) == 1 else None
    return found
