"""Rules for matrices over classes, and rows found by name."""

from __future__ import annotations

import pytest
import torch

from wkd_det.costs.matrix import (
    check_cost,
    check_distance,
    check_interrelation,
    check_symmetric,
    listed_classes,
    positions_of,
)


def _changed(row, column, value, mirrored=True):
    matrix = torch.eye(4)
    matrix[row, column] = value
    if mirrored:
        matrix[column, row] = value
    return matrix


NAMES = ('cat', 'dog', 'car', 'bus')


@pytest.mark.parametrize(
    ('check', 'matrix', 'message'),
    [
        (check_symmetric, _changed(1, 3, 0.5, False), r'at \(1, 3\) = \(dog, bus\) but 0.0'),
        (check_symmetric, torch.eye(3), '3 classes, got 4 class names'),
        (check_interrelation, _changed(0, 2, 2.0), r'got 2.0 at \(0, 2\) = \(cat, car\)'),
        (check_cost, torch.eye(4), r'cost must be 0 on the diagonal .* \(0, 0\) = \(cat, cat\)'),
        (
            check_cost,
            _changed(2, 3, -0.5) - torch.eye(4),
            r'cost must not be negative, got -0.5 at \(2, 3\) = \(car, bus\)',
        ),
    ],
)
def test_checks_name_the_classes(check, matrix, message):
    with pytest.raises(ValueError, match=message):
        check(matrix, class_names=NAMES)


def test_checks_let_good_matrices_pass():
    assert check_symmetric(torch.zeros(2, 2)) is None
    assert check_interrelation(torch.eye(4), class_names=NAMES) is None
    assert check_cost(1 - torch.eye(4), class_names=NAMES) is None


def test_a_distance_may_miss_its_rules_by_the_tolerance():
    near = torch.tensor([[1e-6, -1e-6], [-1e-6, 0.0]])
    check_distance(near, tolerance=1e-5)
    with pytest.raises(ValueError, match=r'distance must be 0 on the diagonal .* \(0, 0\)$'):
        check_distance(near)
    with pytest.raises(ValueError, match=r'distance must not be negative, got -9.9.* at \(0, 1\)'):
        check_distance(near.fill_diagonal_(0))


def test_rows_are_found_by_name():
    assert positions_of(['cat', 'ant'], ['ant', 'bee', 'cat'], 'the file') == [2, 0]
    message = "the file has nothing for the class 'dog'; it has 'ant', 'bee'"
    with pytest.raises(ValueError, match=message):
        positions_of(['ant', 'dog'], ['ant', 'bee'], 'the file')
    many = [f'class {index}' for index in range(20)]
    with pytest.raises(ValueError, match=r"for the class 'class 0', .*, 'class 7' and 12 more; it"):
        positions_of(many, ['ant'], 'the file')


def test_classes_are_listed_by_name_or_index():
    assert listed_classes(range(12)) == 'class 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    assert listed_classes([2, 0], ['ant', 'bee', 'cat']) == 'class cat, ant'
