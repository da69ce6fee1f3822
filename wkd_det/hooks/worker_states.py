"""Random states of data-loading workers that live from epoch to epoch."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from wkd_det.runtime.state import random_state, set_random_state

_BYTES = 2**16  # a state takes about 15 kB
_HEAD = struct.Struct('<QI')  # length and checksum of a state


class WorkerStates:
    """Follows the random states of the persistent workers of a loader, and restores them.

    Each worker notes its state in shared memory after each batch. Between epochs no batch is
    under way, so what is noted is what the next epoch begins with. Workers that start go on from
    what is noted: in a resumed run, and where a hook starts workers anew in the midst of a run
    (``PipelineSwitchHook``), whether that run was resumed or not. A run can be stopped and
    resumed on either side of such a start, or at it.

    Args:
        loader: A loader with ``persistent_workers`` whose workers have not started.
        states: Result of :meth:`read` in the run that was stopped; the workers go on from there.
    """

    def __init__(self, loader: DataLoader, states: Sequence[Any] | None = None) -> None:
        self._loader = loader
        self._noted = torch.zeros(loader.num_workers, _BYTES, dtype=torch.uint8).share_memory_()
        self._states = list(states or [None] * loader.num_workers)
        for row, state in zip(self._noted, self._states):
            if state is not None:
                _write(row, state)
        loader.collate_fn = _Noting(loader.collate_fn, self._noted)
        loader.worker_init_fn = _GoingOn(loader.worker_init_fn, self._noted)
        if states is not None:
            self.have_started()

    def have_started(self) -> None:
        """Let workers that start from now on draw nothing from the random state of the process.

        A loader draws a seed when it starts its workers. A run draws one when it begins; workers
        that go on need none.
        """
        self._loader.generator = torch.Generator()

    def read(self) -> list[Any]:
        """Return the state of each worker, None for one that has had no batch.

        Within an epoch a worker may be writing, and the state of the run's start stands for what
        cannot be read; resuming from there is not exact anyway.
        """
        return [_read(row) or state for row, state in zip(self._noted, self._states)]


class _Noting:
    def __init__(self, collate: Callable, noted: Tensor) -> None:
        self.collate = collate
        self.noted = noted

    def __call__(self, samples: Any) -> Any:
        batch = self.collate(samples)
        worker = get_worker_info()
        if worker is not None:
            _write(self.noted[worker.id], random_state(cuda=False))
        return batch


class _GoingOn:
    def __init__(self, init: Callable | None, noted: Tensor) -> None:
        self.init = init
        self.noted = noted

    def __call__(self, worker: int) -> None:
        if self.init is not None:
            self.init(worker)
        state = _read(self.noted[worker])
        if state is not None:
            set_random_state(state)


def _write(row: Tensor, state: Any) -> None:
    content = pickle.dumps(state)
    noted = _HEAD.pack(len(content), zlib.crc32(content)) + content
    row[: len(noted)] = torch.frombuffer(bytearray(noted), dtype=torch.uint8)


def _read(row: Tensor) -> Any:
    content = row.numpy().tobytes()
    length, checksum = _HEAD.unpack_from(content)
    state = content[_HEAD.size : _HEAD.size + length]
    whole = len(state) == length > 0 and zlib.crc32(state) == checksum
    return pickle.loads(state) if whole else None
