"""Tensors of all processes of a run: rows put together, means, one process's values for all."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


@torch.no_grad()
def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of all processes, those of the first process first; no gradient.

    Every process must call it, with tensors of the same types and axes behind the first.

    Args:
        *tensors: Shapes ``(N, ...)``, of one ``N``, which may differ between processes.

    Returns:
        Shapes ``(M, ...)``, ``M`` the sum of all ``N``; in a single process what was given.
    """
    tensors = tuple(tensor.detach() for tensor in tensors)
    processes = _process_count()
    if processes == 1:
        return tensors
    own = torch.tensor([len(tensors[0])], device=tensors[0].device)
    counts = [torch.zeros_like(own) for _ in range(processes)]
    distributed.all_gather(counts, own)
    return tuple(_gathered(rows, torch.cat(counts).tolist()) for rows in tensors)


def _gathered(rows: Tensor, counts: list[int]) -> Tensor:
    """Rows of all processes, of which each gives as many as ``counts`` says."""
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts)])


@torch.no_grad()
def copy_from_first(tensor: Tensor) -> None:
    """Overwrite a tensor by that of the first process, in place; every process must call it."""
    if _process_count() > 1:
        distributed.broadcast(tensor, src=0)


@torch.no_grad()
def mean_of_processes(tensor: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, without gradient.

    Every process must call it. What is divided by it in each process has, after the mean of the
    gradients, the gradient that one process with all samples would have.
    """
    processes = _process_count()
    if processes == 1:
        return tensor.detach()
    total = tensor.detach().clone()
    distributed.all_reduce(total)
    return total / processes


def _process_count() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
