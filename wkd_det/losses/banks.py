"""Memory banks: the last embedding of every training sample, of student and teacher."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.ops.arithmetic import promote
from wkd_det.ops.checks import check_integers, check_tensors, plain_number
from wkd_det.ops.processes import copy_from_first, gather_rows


class MemoryBanks(nn.Module):
    """Vectors of length 1 for every training sample, one bank per network.

    They are buffers, so they follow the module and are saved with it. Every process of a run
    holds all of them and puts in what all processes have found.

    Args:
        num_samples: Number of training samples.
        width: Width of the vectors.
        momentum: Share of the old vector when a new one comes, in [0, 1].

    Raises:
        ValueError: If a number is outside its range.
    """

    def __init__(self, num_samples: int, width: int, momentum: float) -> None:
        super().__init__()
        check_integers(num_samples=num_samples, width=width)
        momentum = plain_number(momentum)
        if isinstance(momentum, bool) or not 0 <= momentum <= 1:
            raise ValueError(f'momentum must lie in [0, 1], got {momentum}')
        self.momentum = momentum
        shape = plain_number(num_samples), plain_number(width)
        limit = 1 / math.sqrt(shape[1] / 3)  # vectors of length 1 in the mean
        for name in ('student', 'teacher'):
            self.register_buffer(name, torch.empty(shape).uniform_(-limit, limit))

    def equalise(self) -> None:
        """Give every process the banks of the first one, which may have drawn other ones."""
        copy_from_first(self.student)
        copy_from_first(self.teacher)

    @torch.no_grad()
    def update(self, index: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Move the vectors of samples towards new ones, and to length 1.

        Of a sample that occurs more than once, the last vector counts, whatever the device and
        the number of processes. A vector that is not finite is left out: it would stay for good.

        Args:
            index: Indices of the samples of this process, shape ``(N,)``.
            student: Their vectors of length 1, shape ``(N, width)``.
            teacher: Same shape.
        """
        index, student, teacher = gather_rows(index.long(), student, teacher)
        position = torch.arange(len(index), device=index.device)
        last = torch.where(index[:, None] == index, position, -1).amax(dim=1)
        for bank, vectors in ((self.student, student), (self.teacher, teacher)):
            old, vectors = promote(bank[index], vectors[last])
            new = F.normalize(self.momentum * old + (1 - self.momentum) * vectors, dim=1)
            sound = new.isfinite().all(dim=1, keepdim=True)
            bank[index] = torch.where(sound, new, old).to(bank)


def bank_bytes(num_samples: int, width: int = 128) -> int:
    r"""Memory of both banks in bytes, on the device of every process and in a checkpoint.

    .. math:: 2 \cdot 4 \cdot n \cdot d

    Args:
        num_samples: :math:`n`, number of training samples.
        width: :math:`d`, width of the vectors.

    Raises:
        ValueError: If a number is no integer above 0.

    >>> bank_bytes(50000), bank_bytes(1281167)  # CIFAR-100, ImageNet
    (51200000, 1311915008)
    """
    check_integers(num_samples=num_samples, width=width)
    return 2 * 4 * int(num_samples) * int(width)


def check_banks(width: int, student_bank: Tensor, teacher_bank: Tensor) -> None:
    """Raise if banks are no matrices of one shape, with rows of the width of the embeddings.

    Raises:
        TypeError: With the name of what is no tensor.
        ValueError: With both shapes.
    """
    check_tensors(student_bank=student_bank, teacher_bank=teacher_bank)
    shapes = [tuple(bank.shape) for bank in (student_bank, teacher_bank)]
    if student_bank.dim() != 2 or shapes[0] != shapes[1] or shapes[0][1] != width:
        raise ValueError(
            f'student_bank and teacher_bank must share a shape (M, D) with D = {width}, got '
            f'{shapes[0]} and {shapes[1]}'
        )


def check_index_lists(name: str, lists: Tensor, samples: int, least: int) -> None:
    """Raise if rows of the banks are not given as a list per sample.

    Args:
        name: Name of the argument, for messages.
        lists: Should be int64 of shape ``(samples, L)``.
        samples: Number of samples.
        least: Smallest length ``L``.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If type or shape differ.
    """
    check_tensors(**{name: lists})
    fit = lists.dim() == 2 and len(lists) == samples and lists.shape[1] >= least
    if not fit or lists.dtype != torch.int64:
        raise ValueError(
            f'{name} must hold int64 and have the shape ({samples}, L) with L >= {least}, got '
            f'{lists.dtype} and {tuple(lists.shape)}'
        )
