"""Stratified subsets of labelled images, drawn with a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wkd_det.ops.checks import check_integers


def stratified(
    labels: np.ndarray,
    num_classes: int,
    *,
    seed: int,
    name: Callable[[int], str],
    per_class: int | None = None,
    skipped: int = 0,
    option: str = 'per_class',
) -> np.ndarray:
    """Return indices of images drawn from each class, class after class.

    The same seed draws the same order within a class, so a smaller subset is a part of a larger
    one, and the subsets before and after ``skipped`` have nothing in common.

    Args:
        labels: Classes, shape ``(N,)``; others than ``[0, num_classes)`` are not drawn.
        num_classes: Number of classes.
        seed: Seed of the draw, together with the class.
        name: Name of a class, for the message.
        per_class: Images per class; all by default.
        skipped: Images per class that come first in the order and are left out.
        option: Name of ``per_class`` in the config, for the message.

    Returns:
        Integers, shape ``(M,)``.

    Raises:
        ValueError: If a class that occurs has fewer images.

    >>> labels = np.array([0, 0, 1, 1])
    >>> both = [stratified(labels, 2, seed=0, name=str, per_class=1, skipped=n) for n in (0, 1)]
    >>> sorted(np.concatenate(both).tolist())
    [0, 1, 2, 3]
    """
    if per_class is not None:
        check_integers(**{option: per_class})
    check_integers(0, seed=seed)
    chosen = [np.zeros(0, dtype=np.int64)]
    for label in range(num_classes):
        found = np.flatnonzero(labels == label)
        left = np.random.default_rng((seed, label)).permutation(found)[skipped:]
        if per_class is not None and len(found) and per_class > len(left):
            raise ValueError(
                f'{option} must lie in [1, {len(left)}] for the {name(label)}, got {per_class}'
            )
        chosen.append(left[:per_class])
    return np.concatenate(chosen)
