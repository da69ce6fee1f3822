"""Matrices over pairs of classes: the rules for each kind, and the names of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wkd_det.ops.checks import listed
from wkd_det.runtime.class_names import positions_by_name

# Float32 matrices built on a GPU differ from their transpose by a few 1e-7 of the largest entry.
TOLERANCE = 1e-5
BACKGROUND = 'background'
"""Name of what is no object; in files of distances it stands for the last logit of a box head."""


def check_symmetric(
    matrix: Tensor, *, name: str = 'matrix', class_names: Sequence[str] | None = None
) -> None:
    """Raise if a matrix over at least two classes is not finite and symmetric.

    Args:
        matrix: Shape ``(C, C)``.
        name: Name of the matrix in errors.
        class_names: ``C`` names that errors add to the indices.

    Raises:
        ValueError: If the matrix is not square, floating, finite and, up to 1e-5 of its largest
            magnitude, symmetric. The message gives row, column and value.

    Example:
        >>> check_symmetric(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), class_names=('cat', 'dog'))
        Traceback (most recent call last):
            ...
        ValueError: matrix must be symmetric, got 1.0 at (0, 1) = (cat, dog) but 2.0 at (1, 0)
    """
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f'{name} must be square, got shape {tuple(matrix.shape)}')
    if matrix.shape[0] < 2:
        raise ValueError(f'{name} must cover at least 2 classes, got {matrix.shape[0]}')
    if not matrix.is_floating_point():
        raise ValueError(f'{name} must be of a floating type, got {matrix.dtype}')
    if class_names is not None and len(class_names) != matrix.shape[0]:
        raise ValueError(
            f'{name} covers {matrix.shape[0]} classes, got {len(class_names)} class names'
        )
    _refuse(matrix, ~torch.isfinite(matrix), f'{name} must be finite', class_names)
    difference = (matrix - matrix.mT).abs().detach()
    if bool((difference > TOLERANCE * matrix.abs().max()).any()):
        row, column = divmod(int(difference.argmax()), matrix.shape[0])
        raise ValueError(
            f'{name} must be symmetric, got {matrix[row, column].item()} at '
            f'{_place(row, column, class_names)} but {matrix[column, row].item()} '
            f'at ({column}, {row})'
        )


def check_interrelation(matrix: Tensor, *, class_names: Sequence[str] | None = None) -> None:
    """Raise if a matrix is no interrelation: symmetric, at most 1, and 1 on the diagonal.

    Negative entries are allowed (cosines). Entries may leave their range by 1e-5, for rounding.

    Args:
        matrix: Shape ``(C, C)``.
        class_names: ``C`` names that errors add to the indices.

    Raises:
        ValueError: With row, column and value of the first entry that breaks a rule.
    """
    check_symmetric(matrix, name='interrelation', class_names=class_names)
    diagonal = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    rule = 'interrelation must be 1 on the diagonal (a distance is 0 there)'
    _refuse(matrix, diagonal & ((matrix - 1).abs() > TOLERANCE), rule, class_names)
    _refuse(matrix, matrix > 1 + TOLERANCE, 'interrelation must not exceed 1', class_names)


def check_distance(
    matrix: Tensor, *, class_names: Sequence[str] | None = None, tolerance: float = 0.0
) -> None:
    """Raise if a matrix is no distance: symmetric, not negative, and 0 on the diagonal.

    Args:
        matrix: Shape ``(C, C)``.
        class_names: ``C`` names that errors add to the indices.
        tolerance: How far entries may lie below 0, and those of the diagonal from 0.

    Raises:
        ValueError: With row, column and value of the first entry that breaks a rule.
    """
    _check_zero_diagonal('distance', matrix, class_names, tolerance)


def check_cost(matrix: Tensor, *, class_names: Sequence[str] | None = None) -> None:
    """Raise if a matrix is no cost: symmetric, not negative, and 0 on the diagonal.

    Only symmetry has a tolerance: transport pays for every other entry as it stands.

    Args:
        matrix: Shape ``(C, C)``.
        class_names: ``C`` names that errors add to the indices.

    Raises:
        ValueError: With row, column and value of the first entry that breaks a rule.
    """
    _check_zero_diagonal('cost', matrix, class_names, 0.0)


def listed_classes(classes: Sequence[int], class_names: Sequence[str] | None = None) -> str:
    """Return classes for an error message, by name where names are known.

    Example:
        >>> listed_classes([0, 2])
        'class 0, 2'
        >>> listed_classes([0, 2], ['cat', 'dog', 'cow'])
        'class cat, cow'
    """
    shown = classes if class_names is None else [class_names[index] for index in classes]
    return f'class {listed(shown)}'


def positions_of(
    wanted: Sequence[str],
    available: Sequence[str],
    holder: str,
    *,
    wanted_by: str = 'the teacher, background included,',
) -> list[int]:
    """Return the position of each wanted class among those available.

    Args:
        wanted: Names in the order of the logits.
        available: Names in the order of the rows.
        holder: Name of the owner of the rows in errors.
        wanted_by: Name of the owner of the wanted classes in errors.

    Raises:
        ValueError: If a class is missing; the message names it and the available ones. If a name
            occurs twice, such as an object class called ``'background'`` and the real one.
    """
    found = positions_by_name(wanted, available, wanted_by, holder)
    missing = [name for name, position in zip(wanted, found) if position is None]
    if missing:
        lacking, present = (listed(map(repr, names), 8) for names in (missing, available))
        raise ValueError(f'{holder} has nothing for the class {lacking}; it has {present}')
    return found


def _check_zero_diagonal(
    name: str, matrix: Tensor, class_names: Sequence[str] | None, tolerance: float
) -> None:
    check_symmetric(matrix, name=name, class_names=class_names)
    diagonal = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    rule = f'{name} must be 0 on the diagonal (an interrelation is 1 there)'
    _refuse(matrix, diagonal & (matrix.abs() > tolerance), rule, class_names)
    _refuse(matrix, matrix < -tolerance, f'{name} must not be negative', class_names)


def _refuse(matrix: Tensor, wrong: Tensor, rule: str, class_names: Sequence[str] | None) -> None:
    if bool(wrong.any()):
        row, column = (int(index) for index in wrong.nonzero()[0])
        raise ValueError(
            f'{rule}, got {matrix[row, column].item()} at {_place(row, column, class_names)}'
        )


def _place(row: int, column: int, class_names: Sequence[str] | None) -> str:
    place = f'({row}, {column})'
    if class_names is not None:
        place += f' = ({class_names[row]}, {class_names[column]})'
    return place
