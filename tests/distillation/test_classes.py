"""The teacher's classes in the student's order."""

import pytest
import torch

from wkd_det.distillation.classes import ClassOrder


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
