"""The teacher's classes in the student's order."""

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import get_classes
from mmengine.visualization import Visualizer

from wkd_det.costs.interface import ClassTable
from wkd_det.distillation.classes import ClassOrder, match_classes, order_of


def test_permutation_of_logits_and_matrix():
    order = ClassOrder([2, 0, 1], 3)
    logits = torch.tensor([[10.0, 11.0, 12.0], [20.0, 21.0, 22.0]])
    assert order.logits(logits).tolist() == [[12, 10, 11], [22, 20, 21]]
    matrix = torch.arange(9.0).reshape(3, 3)
    assert order.matrix(matrix).tolist() == [[8, 6, 7], [2, 0, 1], [5, 3, 4]]


def test_background_stays_the_last_class():
    order = ClassOrder([1, 0], 2)
    assert order.logits(torch.tensor([[1.0, 2.0, 9.0]])).tolist() == [[2, 1, 9]]
    matrix = torch.arange(9.0).reshape(3, 3)
    assert order.matrix(matrix).tolist() == [[4, 3, 5], [1, 0, 2], [7, 6, 8]]


def test_probability_of_unknown_classes_goes_to_background():
    logits = torch.tensor([[1.0, -2.0, 0.5, 3.0, 0.0]], dtype=torch.float64)
    full, part = logits.softmax(1), ClassOrder([3, 0], 4).logits(logits).softmax(1)
    expected = torch.stack([full[0, 3], full[0, 0], full[0, 1] + full[0, 2] + full[0, 4]])
    torch.testing.assert_close(part[0], expected, rtol=1e-12, atol=0)  # float64 round-off


def test_without_background_unknown_classes_are_left_out():
    logits = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    assert ClassOrder([3, 0], 4).logits(logits).tolist() == [[3, 1]]


@pytest.mark.parametrize('classes', [4, 5])
def test_logits_of_any_number_of_axes_are_rows_of_logits(classes):
    order, logits = ClassOrder([3, 0], 4), torch.randn(2, 3, 6, classes)
    rows = order.logits(logits.flatten(0, 2))
    assert torch.equal(order.logits(logits), rows.unflatten(0, (2, 3, 6)))


def test_gradients_and_types_pass_through():
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ClassOrder([3, 0], 4).logits, (logits,))
    assert ClassOrder([3, 0], 4).logits(torch.zeros(2, 5, dtype=torch.bfloat16)).dtype == (
        torch.bfloat16
    )
    assert ClassOrder([3, 0], 4).logits(torch.zeros(0, 5)).shape == (0, 3)


@pytest.mark.parametrize('width', [2, 5])
def test_other_widths(width):
    order = ClassOrder([0], 3)
    message = f'3 classes, which gives 3 logits, or one more with background; got {width}'
    with pytest.raises(ValueError, match=message):
        order.logits(torch.zeros(1, width))
    with pytest.raises(ValueError, match=message):
        order.matrix(torch.zeros(width, width))


def test_offsets_follow_their_classes():
    order = ClassOrder([2, 0], 3)
    offsets = torch.arange(12.0)[None]
    assert order.offsets(offsets).tolist() == [[8, 9, 10, 11, 0, 1, 2, 3]]
    shared = torch.randn(2, 4)
    assert order.offsets(shared) is shared
    with pytest.raises(ValueError, match='3 classes, which gives 4 or 12 offsets, got 8'):
        order.offsets(torch.zeros(1, 8))


def test_a_table_of_the_students_classes():
    rows = torch.arange(8.0).reshape(4, 2)
    table = ClassTable(4, ['ant', 'bee', 'cat', 'background'], lambda: rows)
    asked = ClassOrder([2, 0], 3).table(table)
    assert (asked.count, asked.names) == (3, ['cat', 'ant', 'background'])
    assert asked.rows().tolist() == [[4, 5], [0, 1], [6, 7]]
    without = ClassOrder([2, 0], 3).table(ClassTable(3, None, lambda: rows[:3]))
    assert (without.count, without.names) == (2, None)
    assert without.rows().tolist() == [[4, 5], [0, 1]]
    assert ClassOrder().table(table) is table
    with pytest.raises(ValueError, match='3 classes, which gives 3 logits, .* got 5'):
        ClassOrder([2, 0], 3).table(ClassTable(5, None, lambda: rows))


# Matching


COCO = list(CocoDataset.METAINFO['classes'])


@pytest.mark.parametrize(
    ('own', 'other', 'indices'),
    [
        (['a', 'b'], ['a', 'b'], None),
        (['a', 'b'], ['A', 'B'], None),
        (COCO, list(get_classes('coco')), None),  # as mmdet spells it elsewhere
        (COCO[::-1], list(get_classes('coco')), list(range(79, -1, -1))),
        (COCO, [name.title() for name in COCO], None),  # as Objects365 does
        (['b', 'a'], ['a', 'b', 'c'], [1, 0]),
        (['a', 'b'], ['a', 'b', 'c'], [0, 1]),  # the teacher has more: no identity
        (['stop sign'], ['cat', 'Stop_Sign'], [1]),
        (['cat', 'crane', 'crane'], ['cat', 'crane', 'crane'], None),  # class by class
        (['cat'], ['crane', 'cat', 'crane'], [1]),  # nobody asks for a crane
    ],
)
def test_order_by_name(own, other, indices):
    order = order_of(own, other)
    assert order.is_identity == (indices is None)
    assert indices is None or order.indices == indices


@pytest.mark.parametrize(
    ('own', 'other', 'message'),
    [
        (
            ['cat', 'crane', 'crane'],
            ['crane', 'cat', 'crane'],
            "the student has more than one class called 'crane': classes are matched by name",
        ),
        (
            ['cat', 'crane', 'bus'],
            ['crane', 'cat', 'crane'],
            "the teacher has more than one class called 'crane': classes are matched by name",
        ),
        (
            ['cat', 'US'],
            ['us', 'Us', 'cat'],
            "class 1 is 'US' for the student and 'Us' for the teacher, which has no 'US'; ",
        ),
        (['a', 'b'], ['a'], "class 1 is 'b' for the student and nothing for the teacher, which "),
    ],
)
def test_names_that_cannot_be_matched(own, other, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        order_of(own, other)


@pytest.mark.parametrize(
    'meta',
    [
        dict(classes=('ant', 'bee')),
        [dict(classes=('ant', 'bee')), dict(classes=('ant', 'bee'), palette=[])],
        [
            dict(classes=('ant', 'bee')),
            [dict(classes=('Ant', 'bee')), dict(classes=['ant', 'bee'])],
        ],
    ],
    ids=['one set', 'joined', 'joined twice'],
)
def test_names_of_the_training_data(meta):
    Visualizer.get_instance('matching').dataset_meta = meta
    assert match_classes(2, 2, ['bee', 'ant'], 'same').indices == [1, 0]
    assert match_classes(2, 3, ['cow', 'bee', 'ant'], 'subset').indices == [2, 1]
    assert match_classes(2, 2, None, 'same').is_identity
    assert match_classes(2, 5, ['bee', 'ant'], 'any').is_identity


def test_classes_that_differ_in_case_only_are_ordered_and_not_taken_for_spellings():
    order = order_of(['cat', 'dog', 'Dog'], ['cat', 'Dog', 'dog'])
    assert order.indices == [0, 2, 1]
