"""Unit of processor time: what makes the costs of runs on different machines comparable."""

from __future__ import annotations

import statistics
import threading
import time

import torch
import torch.nn.functional as F

_MEASURING = threading.Lock()  # processor time is that of all threads of a process
_REPEATS = 15


def unit_cpu_seconds(threads: int | None = None) -> float:
    """Return the processor time of a fixed piece of training, in seconds: how slow this machine is.

    Processor times of two machines are compared as multiples of it. The piece is the forward and
    backward pass of three convolutions with batch normalisation, on 64 maps of 32 x 16 x 16; the
    median of fifteen times counts, since a run suffers from its neighbours as well.

    Args:
        threads: Number of threads; None: as many as PyTorch takes.
    """
    before = torch.get_num_threads()
    with _MEASURING:
        torch.set_num_threads(threads or before)
        try:
            return statistics.median(_piece_of_training() for _ in range(_REPEATS))
        finally:
            torch.set_num_threads(before)


def _piece_of_training() -> float:
    maps = torch.ones(64, 32, 16, 16)
    weight = torch.full((32, 32, 3, 3), 0.01, requires_grad=True)
    begin = time.process_time()
    with torch.enable_grad():
        for _ in range(3):
            maps = F.batch_norm(F.conv2d(maps, weight, padding=1), None, None, training=True).relu()
        maps.sum().backward()
    return time.process_time() - begin
