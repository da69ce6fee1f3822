"""Checks of arguments, and lists of names for their messages."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from wkd_det.ops import checks
from wkd_det.ops.checks import (
    check_booleans,
    check_integers,
    check_logits,
    check_maps,
    check_nonnegative,
    check_positive,
    check_target,
    check_tensors,
    check_weights,
    level_masks,
    listed,
    plain_number,
    values_are_due,
)

ZERO_DIMENSIONAL = (
    torch.tensor(0.5),
    torch.tensor(2),
    torch.tensor(0.5, dtype=torch.bfloat16),
    torch.tensor(0.5, requires_grad=True),
    torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64)),
    np.array(0.5),
    np.array(3),
)


def test_numbers_of_all_kinds_pass():
    for value in (1, 0.5, np.float32(0.5), np.float64(2), np.int64(3), *ZERO_DIMENSIONAL):
        check_nonnegative(weight=value)
        check_positive(weight=value)
    check_nonnegative(weight=0, other=0.0)
    check_integers(grid=1, other=np.int64(2))
    check_integers(0, step=0)
    check_integers(0, step=np.array(0), other=torch.tensor(0, dtype=torch.uint8))
    for value in (torch.tensor(3), np.array(3), torch.tensor(3, dtype=torch.int16)):
        check_integers(grid=value)


def test_booleans_of_all_kinds_pass():
    check_booleans(resize=True, other=False)
    for value in (np.bool_(False), np.array(True), torch.tensor(False)):
        check_booleans(resize=value)


@pytest.mark.parametrize('value', ['no', 'True', 0, 1, None, [], np.array([True])])
def test_other_truths_are_no_booleans(value):
    message = f'resize must be True or False, got {value!r}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_booleans(other=True, resize=value)


@pytest.mark.parametrize('check', [check_nonnegative, check_positive])
@pytest.mark.parametrize(
    'value',
    [
        '1',
        True,
        None,
        [1.0],
        torch.tensor([1.0]),
        torch.tensor(True),
        torch.tensor(1j),
        torch.tensor([]),
        np.array([1.0]),
        np.array('1'),
        np.True_,
    ],
)
def test_values_that_are_no_numbers(check, value):
    with pytest.raises(ValueError, match=r'weight must be a number, got '):
        check(weight=value)


@pytest.mark.parametrize(
    ('check', 'value', 'message'),
    [
        (check_nonnegative, -0.5, 'weight must not be negative, got -0.5'),
        (check_nonnegative, math.nan, 'weight must not be negative, got nan'),
        (check_integers, np.True_, f'weight must be an integer of at least 1, got {np.True_!r}'),
        (check_nonnegative, math.inf, 'weight must be finite, got inf'),
        (check_positive, 0, 'weight must be positive, got 0'),
        (check_positive, math.nan, 'weight must be positive, got nan'),
        (check_positive, math.inf, 'weight must be finite, got inf'),
        (check_nonnegative, torch.tensor(-0.5), 'weight must not be negative, got -0.5'),
        (check_nonnegative, torch.tensor(math.nan), 'weight must not be negative, got nan'),
        (check_nonnegative, np.array(math.inf), 'weight must be finite, got inf'),
        (check_positive, torch.tensor(0), 'weight must be positive, got 0'),
        (check_positive, np.float32(-0.5), 'weight must be positive, got -0.5'),
        (
            check_integers,
            torch.tensor(0),
            r'weight must be an integer of at least 1, got tensor\(0\)',
        ),
        (
            check_integers,
            torch.tensor(2.0),
            r'weight must be an integer of at least 1, got tensor\(2.\)',
        ),
        (
            check_integers,
            torch.tensor(True),
            r'weight must be an integer of at least 1, got tensor\(True\)',
        ),
        (check_integers, 0, 'weight must be an integer of at least 1, got 0'),
        (check_integers, True, 'weight must be an integer of at least 1, got True'),
        (check_integers, 2.0, 'weight must be an integer of at least 1, got 2.0'),
        (check_integers, '2', "weight must be an integer of at least 1, got '2'"),
    ],
)
def test_numbers_out_of_range(check, value, message):
    with pytest.raises(ValueError, match=message):
        check(weight=value)
    with pytest.raises(ValueError, match=message):
        check(fine=1, weight=value)


def test_weights_are_numbers_one_per_comparison():
    for weights in (None, [1.0, 0], (2, np.float32(0.5)), [torch.tensor(1.0), np.array(0)]):
        check_weights('stage_weights', weights, 2, 'stage')


@pytest.mark.parametrize(
    'weights',
    [
        [1.0],
        [1.0, -1.0],
        [1.0, math.inf],
        [1.0, True],
        1.0,
        torch.tensor(1.0),
        torch.ones(2),
        [1.0, torch.tensor(-1.0)],
        [1.0, torch.tensor(True)],
    ],
)
def test_weights_of_another_kind(weights):
    message = 'stage_weights must be 2 numbers >= 0, one for each stage, got '
    with pytest.raises(ValueError, match=message):
        check_weights('stage_weights', weights, 2, 'stage')


@pytest.mark.parametrize('weights', [[0, 0], (0.0, torch.tensor(0.0))])
def test_weights_that_switch_everything_off(weights):
    message = f'level_weights must not all be 0, got {weights!r}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_weights('level_weights', weights, 2, 'level')


def test_numbers_are_taken_out_of_tensors_and_arrays():
    for value in (torch.tensor(2), np.array(2), np.int64(2), 2):
        assert plain_number(value) == 2
        assert type(plain_number(value)) is int
    for value in (torch.tensor(0.5, requires_grad=True), np.float32(0.5), np.array(0.5)):
        assert type(plain_number(value)) is float
    for value in ('2', None, [2], torch.ones(1), np.ones(1)):
        assert plain_number(value) is value


@pytest.mark.parametrize(
    ('value', 'got'),
    [
        ([0, 2], r'\[0, 2\]'),
        ((0, 2), r'\(0, 2\)'),
        (np.array([0, 2]), r'array\(\[0, 2\]\)'),
        (None, 'None'),
        (2, '2'),
        (list(range(1000)), r'\[0, 1, 2, 3, 4, 5, \.\.\.\]'),  # not all of a long list
    ],
)
def test_what_is_no_tensor(value, got):
    check_tensors()
    check_tensors(student=torch.zeros(2), teacher=torch.zeros(()))
    with pytest.raises(TypeError, match=f'^teacher must be a tensor, got {got}$'):
        check_tensors(student=torch.zeros(2), teacher=value)


def test_logits_share_their_shape():
    check_logits(torch.zeros(2, 3), torch.ones(2, 3))
    for student, teacher in (((2, 3), (2, 4)), ((2,), (2,))):
        with pytest.raises(
            ValueError, match=r'student and teacher must share a shape \(N, C\), got'
        ):
            check_logits(torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize(
    ('target', 'shape', 'message'),
    [
        ([0, 1, 2], (2, 3), r'target must have the shape \(2,\), got \(3,\)'),
        ([0, 0], (2, 1), 'DKD needs at least 2 classes, got 1'),
        ([0, 3], (2, 3), r'target must lie in \[0, 3\), got values from 0 to 3'),
        ([-1, 2], (2, 3), r'target must lie in \[0, 3\), got values from -1 to 2'),
    ],
)
def test_targets_that_do_not_fit_the_logits(target, shape, message):
    with pytest.raises(ValueError, match=message):
        check_target(torch.tensor(target), torch.zeros(shape), 'DKD')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bool, torch.complex64])
def test_targets_that_are_no_integers(dtype):
    with pytest.raises(ValueError, match=f'^target must hold integers, got {dtype}$'):
        check_target(torch.zeros(2, dtype=dtype), torch.zeros(2, 3), 'DKD')


def test_targets_that_are_no_tensor():
    with pytest.raises(TypeError, match=r'^target must be a tensor, got \[0, 2\]$'):
        check_target([0, 2], torch.zeros(2, 3), 'DKD')


def test_targets_that_fit():
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        check_target(torch.tensor([0, 2], dtype=dtype), torch.zeros(2, 3), 'DKD')
    check_target(torch.tensor([0, 2]), torch.zeros(2, 3), 'DKD')
    check_target(torch.zeros(0, dtype=torch.long), torch.zeros(0, 3), 'DKD')


def test_maps_of_another_size_pass_only_where_asked_for():
    one, other = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)
    check_maps(one, other, None, same_size=False)
    with pytest.raises(ValueError, match=r'must share a shape \(N, C, H, W\), got'):
        check_maps(one, other, None)
    with pytest.raises(ValueError, match='; only H and W may differ'):
        check_maps(one, other[:1], None, same_size=False)


def test_a_mask_per_level():
    maps = [torch.zeros(2, 3, size, size) for size in (4, 2)]
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    assert level_masks(maps, maps, None) == [None, None]
    assert level_masks(maps, maps, [mask, None]) == [mask, None]
    with pytest.raises(ValueError, match='at least 1, got 2, 1 and 2'):
        level_masks(maps, maps[:1], None)
    with pytest.raises(ValueError, match='level 1: mask must be bool'):
        level_masks(maps, maps, [None, mask])
    with pytest.raises(TypeError, match='^level 1: teacher must be a tensor, got None$'):
        level_masks(maps, [maps[0], None], None)
    message = (
        r'^teacher must be a list of tensors, one per level, got one of the shape \(2, 3, 4, 4\)$'
    )
    with pytest.raises(TypeError, match=message):
        level_masks(maps, maps[0], None)


def test_names_in_a_row_and_how_many_more():
    assert listed([]) == ''
    assert listed('abc', 3) == 'a, b, c'
    assert listed(range(12)) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'


# What is looked at


def test_the_cpu_is_looked_at_every_time():
    assert all(values_are_due(torch.zeros(2), 'target') for _ in range(3))
    assert all(values_are_due(0.5, 'temperature') for _ in range(3))
    logits, target = torch.zeros(2, 3), torch.tensor([0, 3])
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r'^target must lie in \[0, 3\), got values from 0 to 3$'
        ):
            check_target(target, logits, 'a form')


def test_another_device_is_looked_at_once_for_each_form_and_number_of_classes(monkeypatch):
    """A tensor of the meta device has no values, so who looks at one fails."""
    monkeypatch.setattr(checks, '_LOOKED_AT', set())
    target = torch.zeros(2, dtype=torch.int64, device='meta')
    for form, classes in (('a form', 3), ('a form', 4), ('another', 3)):
        logits = torch.zeros(2, classes, device='meta')
        with pytest.raises((RuntimeError, NotImplementedError), match='[Mm]eta'):
            check_target(target, logits, form)
        check_target(target, logits, form)


def test_a_number_on_another_device_is_looked_at_once(monkeypatch):
    monkeypatch.setattr(checks, '_LOOKED_AT', set())
    number = torch.ones((), device='meta')
    for check, name in ((check_positive, 'temperature'), (check_nonnegative, 'weight')):
        with pytest.raises((RuntimeError, NotImplementedError), match='[Mm]eta'):
            check(**{name: number})
        check(**{name: number})
