"""Two gloo processes: rows of both, and banks that see what both processes have found."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from wkd_det import registry
from wkd_det.losses.banks import MemoryBanks
from wkd_det.ops.processes import copy_from_first, gather_rows

TINY = dict(student_channels=5, teacher_channels=7, width=4, num_samples=24, negatives=9)
STEPS = 3


def batch(step):
    """Maps, indices and negatives of eight samples; the fourth and the last are one."""
    generator = torch.Generator().manual_seed(step)
    index = torch.randperm(24, generator=generator)[:8]
    index[7] = index[3]
    return dict(
        student=torch.randn(8, 5, 1, 1, generator=generator),
        teacher=torch.randn(8, 7, 1, 1, generator=generator),
        index=index,
        negatives=torch.randint(24, (8, 9), generator=generator),
    )


def train(loss, part):
    """Banks and gradients after some steps on a part of each batch."""
    inner = getattr(loss, 'module', loss)
    for step in range(STEPS):
        loss.zero_grad()
        loss(**{name: value[part] for name, value in batch(step).items()}).backward()
    gradients = {name: p.grad.clone() for name, p in inner.named_parameters()}
    return copy.deepcopy(inner.state_dict()), gradients


def build(kind, seed=0):
    torch.manual_seed(seed)
    options = dict(local_weight=0.0) if kind == 'WCoRDLoss' else {}
    return registry.build(dict(type=kind, **TINY, **options))


def process(rank, folder):
    """One of two; leaves what it found in a file."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    rows = torch.arange(2.0 + rank)[:, None] + 10 * rank
    found = dict(rows=gather_rows(rows, rows.long()), none=gather_rows(rows[: 2 * rank])[0])
    found['first'] = torch.full((2,), float(rank))
    copy_from_first(found['first'])
    for kind in ('CRDLoss', 'WCoRDLoss'):
        loss = build(kind)
        torch.manual_seed(rank)
        loss.banks = MemoryBanks(24, 4, 0.5)  # other ones in each process
        wrapped = DistributedDataParallel(loss, broadcast_buffers=False)
        found[kind] = train(wrapped, slice(4 * rank, 4 * rank + 4))
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


def test_rows_of_all_processes_in_their_order(found):
    for one in found:
        floats, integers = one['rows']
        assert floats.flatten().tolist() == [0, 1, 10, 11, 12]
        assert integers.dtype == torch.int64
        assert torch.equal(integers, floats.long())
        assert one['none'].flatten().tolist() == [10, 11]


def test_values_of_the_first_process(found):
    assert [one['first'].tolist() for one in found] == [[0, 0], [0, 0]]


@pytest.mark.parametrize('kind', ['CRDLoss', 'WCoRDLoss'])
def test_both_processes_have_the_banks_of_one_with_twice_the_batch(found, kind):
    loss = build(kind)
    torch.manual_seed(0)
    loss.banks = MemoryBanks(24, 4, 0.5)
    state, gradients = train(loss, slice(None))
    for one in found:
        for key, value in one[kind][0].items():
            assert_close(value, state[key], rtol=1e-5, atol=1e-6, msg=key)
        for key, value in one[kind][1].items():
            assert_close(value, gradients[key], rtol=1e-4, atol=1e-6, msg=key)
    for key, value in found[0][kind][0].items():
        assert torch.equal(value, found[1][kind][0][key]), key


def test_a_process_alone_has_its_own_rows():
    rows = torch.ones(2, 3, requires_grad=True)
    (alone,) = gather_rows(rows)
    assert torch.equal(alone, rows)
    assert not alone.requires_grad
    copy_from_first(alone)
