"""Memory banks: moving vectors, samples that occur twice, values that are not finite, size."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det.losses.banks import MemoryBanks, bank_bytes


def unit(*shape, seed=1):
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=-1)


def test_a_vector_moves_towards_the_new_one_and_keeps_the_length_1():
    banks = MemoryBanks(3, 2, momentum=0.5)
    banks.student[1] = torch.tensor([1.0, 0.0])
    banks.update(torch.tensor([1]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]]))
    assert banks.student[1].tolist() == pytest.approx([math.sqrt(0.5)] * 2)


@pytest.mark.parametrize('momentum', [0.0, 0.3, 1.0])
def test_momentum_is_the_share_of_the_old_vector(momentum):
    banks = MemoryBanks(6, 4, momentum)
    old = {name: bank.clone() for name, bank in banks.named_buffers()}
    index, new = torch.tensor([4, 0]), dict(student=unit(2, 4), teacher=unit(2, 4, seed=2))
    banks.update(index, **new)
    for name, bank in banks.named_buffers():
        mixed = momentum * old[name][index] + (1 - momentum) * new[name]
        assert_close(bank[index], F.normalize(mixed, dim=1))
        untouched = [1, 2, 3, 5]
        assert torch.equal(bank[untouched], old[name][untouched])


def test_of_a_sample_that_occurs_twice_the_last_vector_counts():
    torch.manual_seed(0)
    banks = MemoryBanks(5, 4, 0.5)
    other = MemoryBanks(5, 4, 0.5)
    other.load_state_dict(banks.state_dict())
    vectors = unit(4, 4)
    banks.update(torch.tensor([2, 0, 2, 2]), vectors, vectors)
    other.update(torch.tensor([0, 2]), vectors[[1, 3]], vectors[[1, 3]])
    assert torch.equal(banks.student, other.student)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_vector_that_is_not_finite_is_left_out(value):
    banks = MemoryBanks(5, 4, 0.5)
    old = banks.student.clone()
    vectors = unit(2, 4)
    vectors[0, 1] = value
    banks.update(torch.tensor([3, 1]), vectors, vectors)
    assert torch.equal(banks.student[3], old[3])
    assert not torch.equal(banks.student[1], old[1])


def test_banks_start_with_the_length_1_in_the_mean_square():
    torch.manual_seed(0)
    student = MemoryBanks(2000, 8, 0.5).student
    assert student.abs().max() <= 1 / math.sqrt(8 / 3)
    assert student.square().sum(dim=1).mean().item() == pytest.approx(1, rel=0.02)


def test_vectors_in_half_precision():
    banks = MemoryBanks(5, 4, 0.5)
    banks.update(torch.tensor([1]), unit(1, 4).bfloat16(), unit(1, 4).double())
    assert banks.student.dtype == torch.float32


def test_bytes_are_those_of_the_buffers():
    banks = MemoryBanks(30, 8, 0.5)
    assert bank_bytes(30, 8) == sum(bank.nbytes for bank in banks.buffers())
    with pytest.raises(ValueError, match='^width must be an integer of at least 1, got 0$'):
        bank_bytes(10, 0)


def test_momentum_outside_its_range():
    with pytest.raises(ValueError, match=r'^momentum must lie in \[0, 1\], got -0.1$'):
        MemoryBanks(3, 2, -0.1)
