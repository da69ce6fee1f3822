"""Workers that live from epoch to epoch go on from where they were."""

import pickle
import random
import zlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from wkd_det.hooks.worker_states import _HEAD, WorkerStates


class Draws(Dataset):
    """Items are what their worker draws."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return random.random(), random.gauss(0, 1), np.random.rand(), torch.rand(()).item()


def start(worker):
    random.seed(worker)
    np.random.seed(worker)
    torch.manual_seed(worker)


def loader_of(length, workers=2, **options):
    return DataLoader(
        Draws(length),
        num_workers=workers,
        persistent_workers=True,
        collate_fn=list,
        worker_init_fn=start,
        **options,
    )


@pytest.mark.parametrize(
    ('length', 'context'), [(1, 'fork'), (3, 'fork'), (5, 'fork'), (3, 'spawn')]
)
def test_workers_go_on(length, context):
    loader = loader_of(length, multiprocessing_context='fork')
    plain = [list(loader) for _ in range(3)]
    loader = loader_of(length, multiprocessing_context=context)
    states = WorkerStates(loader)
    assert states.read() == [None, None]
    whole = [list(loader)]
    noted = states.read()
    whole += [list(loader) for _ in range(2)]
    assert whole == plain  # following changes nothing
    assert [state is None for state in noted] == [False, length == 1]
    before = torch.get_rng_state()
    loader = loader_of(length, multiprocessing_context=context)
    resumed = WorkerStates(loader, noted)
    assert [state is None for state in resumed.read()] == [False, length == 1]
    assert [list(loader) for _ in range(2)] == whole[1:]
    assert torch.equal(torch.get_rng_state(), before)  # as if the workers had been there


def restart(loader):
    """As MMDetection's hooks do that change what persistent workers hold."""
    loader._DataLoader__initialized = False
    loader._iterator = None


def test_workers_that_a_hook_starts_anew_go_on():
    """Wherever the run is stopped: before the new start, at it, or behind it."""
    epochs, anew = 4, 2

    def run(begin, noted):
        loader = loader_of(3, multiprocessing_context='fork')
        states = WorkerStates(loader, noted)
        found = []
        for epoch in range(begin, epochs):
            # A hook that is told nothing of the run before switches when it is late, too.
            if epoch == max(begin, anew):
                restart(loader)
            found.append((list(loader), torch.rand(2).tolist()))
            states.have_started()
            loader._DataLoader__initialized = True
            kept.append((states.read(), torch.get_rng_state()))
        return found

    kept = []
    whole = run(0, None)
    assert len({str(batches) for batches, _ in whole}) == epochs  # no epoch is drawn again
    for begin, (noted, state) in enumerate(kept[: epochs - 1], 1):
        torch.set_rng_state(state)
        assert run(begin, noted) == whole[begin:], begin


def test_states_are_plain_data(tmp_path):
    loader = loader_of(3)
    states = WorkerStates(loader)
    list(loader)
    torch.save(states.read(), tmp_path / 'states.pth')
    read = torch.load(tmp_path / 'states.pth', weights_only=True)
    assert read[0]['python'] == states.read()[0]['python']
    again = loader_of(3)
    WorkerStates(again, read)
    assert list(again) == list(loader)


def test_a_state_that_is_half_written_counts_as_none():
    """Within an epoch a worker may be writing while the checkpoint is made."""
    states = WorkerStates(DataLoader(Draws(4), num_workers=1, persistent_workers=True))
    note = states._noted
    content = pickle.dumps(dict(state=list(range(100))))
    whole = _HEAD.pack(len(content), zlib.crc32(content)) + content
    note[0, : len(whole)] = torch.frombuffer(bytearray(whole), dtype=torch.uint8)
    assert states.read() == [dict(state=list(range(100)))]
    for spoiled in (0, 8, _HEAD.size, len(whole) - 1):
        torn = note.clone()
        torn[0, spoiled] += 1
        states._noted = torn
        assert states.read() == [None]
