"""Cosine cost: against torch's own cosine, its range, and its gradient where it is 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.ops.cosine import cosine_cost


def test_all_pairs():
    first, second = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    expected = 1 - F.cosine_similarity(first.mT[:, :, None], second.mT[:, None], dim=3)
    assert_close(cosine_cost(first, second), expected)


def test_never_below_zero_and_with_the_whole_gradient():
    vectors = torch.randn(7, 200, generator=torch.Generator().manual_seed(0))
    cost = cosine_cost(vectors, vectors)
    assert cost.min() >= 0
    one = torch.tensor([[3.0], [4.0]], dtype=torch.float64, requires_grad=True)
    other = torch.tensor([[6.0], [8.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda one: cosine_cost(one, other), one)


def test_a_vector_of_zeros():
    assert cosine_cost(torch.zeros(2, 1), torch.ones(2, 1)).item() == 1
