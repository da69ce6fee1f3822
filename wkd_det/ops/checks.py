"""Checks of arguments: numbers, booleans, weights, logits, vectors, feature maps and pyramids."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Hashable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

_LOOKED_AT: set[tuple[Hashable, ...]] = set()


def values_are_due(value: Any, *subject: Hashable) -> bool:
    """Whether a check should look at values: always on the CPU, elsewhere once for each subject.

    To read a value of another device, the process waits for all work that is queued there. So
    labels and the like are checked there when a process first meets them, and then no more: a
    label out of range that comes later is an error of the device's own indexing.

    Args:
        value: A tensor, or a number, which is always looked at.
        *subject: Name of the argument, and the number of classes or the like that it must fit.
    """
    if not isinstance(value, Tensor) or value.device.type == 'cpu':
        return True
    key = (*subject, value.device)
    first = key not in _LOOKED_AT
    _LOOKED_AT.add(key)
    return first


def check_nonnegative(**values: Any) -> None:
    """Raise if a value is no finite number of at least 0; :func:`is_number` says what is one.

    Raises:
        ValueError: With the name of the first such value.

    >>> check_nonnegative(loss_weight=-1)
    Traceback (most recent call last):
    ValueError: loss_weight must not be negative, got -1
    """
    for name, value in values.items():
        if not values_are_due(value, name):
            continue
        value = _number(name, value)
        if not value >= 0:
            raise ValueError(f'{name} must not be negative, got {value}')
        _check_is_finite(name, value)


def check_positive(**values: Any) -> None:
    """Raise if a value is no finite number above 0; :func:`is_number` says what is one.

    Raises:
        ValueError: With the name of the first such value.
    """
    for name, value in values.items():
        if not values_are_due(value, name):
            continue
        value = _number(name, value)
        if not value > 0:
            raise ValueError(f'{name} must be positive, got {value}')
        _check_is_finite(name, value)


def check_integers(least: int = 1, /, **values: Any) -> None:
    """Raise if a value is no integer of at least ``least``.

    Raises:
        ValueError: With the name of the first such value.

    >>> check_integers(grid=True)
    Traceback (most recent call last):
    ValueError: grid must be an integer of at least 1, got True
    """
    for name, value in values.items():
        if not is_integer(value, least):
            raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')


def check_booleans(**values: Any) -> None:
    """Raise if a value is neither True nor False; one of numpy or in a 0-dimensional tensor counts.

    Any other value would be a truth of Python: the string ``'no'``, as the command line gives it,
    would switch an option on.

    Raises:
        ValueError: With the name of the first such value.

    >>> check_booleans(standardize='no')
    Traceback (most recent call last):
    ValueError: standardize must be True or False, got 'no'
    """
    for name, value in values.items():
        if not isinstance(plain_number(value), bool):
            raise ValueError(f'{name} must be True or False, got {value!r}')


def check_choice(valid: Iterable[Any], /, **values: Any) -> None:
    """Raise if a value is none of the valid ones.

    Raises:
        ValueError: With the name of the first such value.

    >>> check_choice(('raise', 'skip'), on_non_finite='warn')
    Traceback (most recent call last):
    ValueError: on_non_finite must be one of ('raise', 'skip'), got 'warn'
    """
    choices = tuple(valid)
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f'{name} must be one of {choices}, got {value!r}')


def plain_number(value: Any) -> Any:
    """Return the number in a 0-dimensional tensor or array, and any other value as it is.

    >>> plain_number(torch.tensor(0.5)), plain_number(2), plain_number('2')
    (0.5, 2, '2')
    """
    return value.item() if getattr(value, 'ndim', None) == 0 else value


def is_integer(value: Any, least: int) -> bool:
    """Whether a value is an integer of at least ``least``; True and False are none.

    One in a 0-dimensional tensor or array counts.
    """
    value = plain_number(value)
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether a value is a real number; True and False are none.

    One in a 0-dimensional tensor or array counts.
    """
    value = plain_number(value)
    return isinstance(value, Real) and not isinstance(value, bool)


def are_names(value: Any) -> bool:
    """Whether a value is a list of strings, and no string itself."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and all(isinstance(name, str) for name in value)


def are_indices(value: Any) -> bool:
    """Whether a value is a non-empty list of different integers from 0 on."""
    is_list = isinstance(value, Sequence) and len(value) > 0
    return (
        is_list and all(is_integer(index, 0) for index in value) and len(set(value)) == len(value)
    )


def _number(name: str, value: Any) -> Real:
    if not is_number(value):
        raise ValueError(f'{name} must be a number, got {value!r}')
    return plain_number(value)


def _check_is_finite(name: str, value: Real) -> None:
    if value == math.inf:
        raise ValueError(f'{name} must be finite, got {value}')


def check_weights(name: str, weights: Sequence[float] | None, count: int, unit: str) -> None:
    """Raise if weights are no list of finite numbers >= 0, one per comparison, or all of them 0.

    Args:
        name: Name of the option, for the message.
        weights: The list; None stands for equal weights.
        count: Number of comparisons.
        unit: Unit that is compared, e.g. ``'stage'``, for the message.

    Raises:
        ValueError: With the name of the option.
    """
    if weights is None:
        return
    numbers = isinstance(weights, Sequence) and all(
        is_number(weight) and 0 <= weight < math.inf for weight in weights
    )
    if not numbers or len(weights) != count:
        raise ValueError(
            f'{name} must be {count} numbers >= 0, one for each {unit}, got {weights!r}'
        )
    if not any(weights):
        raise ValueError(f'{name} must not all be 0, got {weights!r}')


def check_tensors(**values: Any) -> None:
    """Raise if a value is no tensor, e.g. a list or an array.

    Raises:
        TypeError: With the name of the first such value.

    >>> check_tensors(target=[0, 2])
    Traceback (most recent call last):
    TypeError: target must be a tensor, got [0, 2]
    """
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(f'{name} must be a tensor, got {reprlib.repr(value)}')


def check_logits(student: Tensor, teacher: Tensor) -> None:
    """Raise if logits are no tensors or have different shapes.

    Raises:
        TypeError: With the name of what is no tensor.
        ValueError: With both shapes.
    """
    check_tensors(student=student, teacher=teacher)
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (N, C), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )


def check_sides(student: Tensor, teacher: Tensor) -> None:
    """Raise if logits of the distributions of boxes' sides are no tensors or differ in shape.

    Args:
        student: Should be of shape ``(R, S, B)``: places, sides, bins; at least 2 bins.
        teacher: Should have the same shape.

    Raises:
        TypeError: With the name of what is no tensor.
        ValueError: With both shapes.
    """
    check_tensors(student=student, teacher=teacher)
    shapes = tuple(student.shape), tuple(teacher.shape)
    if student.dim() != 3 or shapes[0] != shapes[1] or student.shape[2] < 2:
        raise ValueError(
            'student and teacher must share a shape (R, S, B) with at least 2 bins, '
            f'got {shapes[0]} and {shapes[1]}'
        )


def check_vectors(student: Tensor, teacher: Tensor, *, same_width: bool = False) -> None:
    """Raise if vectors of the two networks do not belong to the same samples.

    Args:
        student: Should be of shape ``(N, D)``, ``D`` above 0.
        teacher: Should be of shape ``(N, D')``.
        same_width: Whether the widths ``D`` and ``D'`` must agree.

    Raises:
        TypeError: With the name of what is no tensor.
        ValueError: With both shapes.
    """
    check_tensors(student=student, teacher=teacher)
    fit = all(vectors.dim() == 2 and vectors.shape[1] > 0 for vectors in (student, teacher))
    shared = slice(None if same_width else 1)
    if not fit or student.shape[shared] != teacher.shape[shared]:
        raise ValueError(
            'student and teacher must be vectors (N, D) with the same N'
            f'{" and the same D" if same_width else ""}, got {tuple(student.shape)} and '
            f'{tuple(teacher.shape)}'
        )


def check_target(target: Tensor, logits: Tensor, form: str) -> None:
    """Raise if class indices do not fit the logits.

    Args:
        target: Class indices, should be of any integer type and shape ``(N,)``.
        logits: Shape ``(N, C)``.
        form: The form of the loss that needs a second class, for the message.

    Raises:
        TypeError: If the target is no tensor.
        ValueError: If shape or type differ, an index lies outside ``[0, C)``, or ``C < 2``. Indices
            are looked at where :func:`values_are_due`.
    """
    samples, classes = logits.shape
    check_tensors(target=target)
    if target.shape != (samples,):
        raise ValueError(f'target must have the shape ({samples},), got {tuple(target.shape)}')
    check_integer_type('target', target)
    if classes < 2:
        raise ValueError(f'{form} needs at least 2 classes, got {classes}')
    check_range('target', target, classes, form)


def check_integer_type(name: str, tensor: Tensor) -> None:
    """Raise if a tensor holds no integers.

    Raises:
        ValueError: If it holds floats, complex numbers or truth values.
    """
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f'{name} must hold integers, got {tensor.dtype}')


def check_range(
    name: str, tensor: Tensor, stop: int, *subject: Hashable, meaning: str = ''
) -> None:
    """Raise if integers lie outside ``[0, stop)``, looked at where :func:`values_are_due`.

    Args:
        name: Name of the argument.
        tensor: Integers of any shape.
        stop: The first number that is too large.
        *subject: Further parts of the subject of :func:`values_are_due`.
        meaning: Name of ``stop``, for the message.

    Raises:
        ValueError: With the least and the largest number.

    >>> check_range('index', torch.tensor([0, 7]), 5)
    Traceback (most recent call last):
    ValueError: index must lie in [0, 5), got values from 0 to 7
    """
    if tensor.numel() and values_are_due(tensor, name, *subject, stop):
        low, high = torch.stack(tensor.aminmax()).tolist()
        if low < 0 or high >= stop:
            known = f'[0, {meaning}) = ' if meaning else ''
            raise ValueError(
                f'{name} must lie in {known}[0, {stop}), got values from {low} to {high}'
            )


def check_maps(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None,
    *,
    same_size: bool = True,
    same_width: bool = True,
) -> None:
    """Raise if feature maps and a mask do not fit together.

    Args:
        student: Should be of shape ``(N, C, H, W)``, ``C``, ``H`` and ``W`` above 0.
        teacher: Should be of the same shape.
        mask: Should be bool of shape ``(N, H, W)``, or None.
        same_size: Whether ``H`` and ``W`` must agree too.
        same_width: Whether ``C`` must agree too.

    Raises:
        TypeError: With the name of what is no tensor.
        ValueError: With the shapes that were given.
    """
    check_tensors(student=student, teacher=teacher)
    if mask is not None:
        check_tensors(mask=mask)
    names = [name for name, same in (('C', same_width), ('H and W', same_size)) if not same]
    free = f'; only {", ".join(names)} may differ' if names else ''
    shared = [0, *[1] * same_width, *[2, 3] * same_size]
    maps = student.dim() == teacher.dim() == 4
    if not maps or any(student.shape[axis] != teacher.shape[axis] for axis in shared):
        raise ValueError(
            f'student and teacher must share a shape (N, C, H, W), got {tuple(student.shape)} and '
            f'{tuple(teacher.shape)}{free}'
        )
    for features in (student, teacher):
        if 0 in features.shape[1:]:
            raise ValueError(f'feature maps must not be empty, got {tuple(features.shape)}')
    samples, _, height, width = student.shape
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (samples, height, width)):
        raise ValueError(
            f'mask must be bool and have the shape (N, H, W) = {(samples, height, width)}, '
            f'got {mask.dtype} and {tuple(mask.shape)}'
        )


def level_masks(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Sequence[Tensor | None] | None,
    *,
    same_size: bool = True,
    same_width: bool = True,
) -> list[Tensor | None]:
    """Return one mask, or None, per level, after checking that two pyramids fit.

    Args:
        student: Maps of a pyramid, each ``(N, C, H, W)``.
        teacher: Maps of the same shapes.
        mask: Bool, each ``(N, H, W)``, or None for all pixels of its level; None for all levels.
        same_size: Whether ``H`` and ``W`` must agree at each level.
        same_width: Whether ``C`` must agree at each level.

    Raises:
        TypeError: If a tensor stands for a list of maps, or something else for a map.
        ValueError: If there are no levels, their numbers differ or shapes disagree.
    """
    for name, levels in dict(student=student, teacher=teacher).items():
        if isinstance(levels, Tensor):
            raise TypeError(
                f'{name} must be a list of tensors, one per level, got one of the shape '
                f'{tuple(levels.shape)}'
            )
    masks = [None] * len(student) if mask is None else list(mask)
    if not student or not len(student) == len(teacher) == len(masks):
        raise ValueError(
            'student, teacher and mask must have the same number of levels, at least 1, got '
            f'{len(student)}, {len(teacher)} and {len(masks)}'
        )
    for level, maps in enumerate(zip(student, teacher, masks)):
        try:
            check_maps(*maps, same_size=same_size, same_width=same_width)
        except (TypeError, ValueError) as error:
            raise type(error)(f'level {level}: {error}') from None
    return masks


def listed(names: Iterable[Any], most: int = 10) -> str:
    """Return the first names for a message, and how many more there are.

    >>> listed(['ant', 'bee', 'cat'], 2)
    'ant, bee and 1 more'
    """
    names = [str(name) for name in names]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
