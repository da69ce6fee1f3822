"""Checks shared by the losses on feature pyramids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wkd_det.functional.map_check import check_maps


def level_masks(
    student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Sequence[Tensor | None] | None
) -> list[Tensor | None]:
    """One mask, or None, for each level of two pyramids that fit.

    Args:
        student: Maps of a pyramid, each ``(N, C, H, W)``.
        teacher: Maps of the same shapes.
        mask: Bool, each ``(N, H, W)``, or None for all pixels of a level, or of all levels.

    Raises:
        ValueError: If there are no levels, their numbers differ or shapes disagree.
    """
    masks = [None] * len(student) if mask is None else list(mask)
    if not student or not len(student) == len(teacher) == len(masks):
        raise ValueError(
            'student, teacher and mask must have the same number of levels, at least 1, got '
            f'{len(student)}, {len(teacher)} and {len(masks)}'
        )
    for level, maps in enumerate(zip(student, teacher, masks)):
        try:
            check_maps(*maps)
        except ValueError as error:
            raise ValueError(f'level {level}: {error}') from None
    return masks
