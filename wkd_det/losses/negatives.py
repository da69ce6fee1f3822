"""Negatives of contrastive losses: distinct samples of other classes, drawn on the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.ops.checks import (
    check_integer_type,
    check_integers,
    check_range,
    check_tensors,
    plain_number,
)

_MARGIN = 8.0  # standard deviations of the number of draws that are made in addition to its mean
_WIDE = 2**62  # a draw below it, modulo the size of a pool, is even to 12 digits and more


class SampleTable(nn.Module):
    """Classes of all training samples, and draws from those of other classes.

    The table is made once, by :meth:`fill`; it follows the module to its device and is not part
    of checkpoints. It holds 24 bytes per sample.

    Args:
        num_samples: Number of training samples.
        negatives: Samples to draw for each one that is given.

    Raises:
        ValueError: If a number is no integer above 0.
    """

    def __init__(self, num_samples: int, negatives: int) -> None:
        super().__init__()
        check_integers(num_samples=num_samples, negatives=negatives)
        self.num_samples = plain_number(num_samples)
        self.negatives = plain_number(negatives)
        self.filled = False
        # Samples in the order of their classes; where in it the class of each sample begins, and
        # how many belong to it.
        for name in ('order', 'start', 'count'):
            empty = torch.zeros(self.num_samples, dtype=torch.int64)
            self.register_buffer(name, empty, persistent=False)

    def fill(self, labels: Tensor) -> None:
        """Take the class of every training sample.

        Args:
            labels: Shape ``(num_samples,)``, integers. A sample without a label has a negative
                one: it makes a class of its own, so it is a negative of all others.

        Raises:
            TypeError: If the labels are no tensor.
            ValueError: If their shape or type differs, or all belong to one class.
        """
        check_tensors(labels=labels)
        if labels.shape != (self.num_samples,):
            raise ValueError(
                f'labels must have the shape (num_samples,) = ({self.num_samples},), got '
                f'{tuple(labels.shape)}'
            )
        check_integer_type('labels', labels)
        labels = labels.to('cpu', torch.int64, copy=True)
        unknown = labels < 0
        labels[unknown] = int(labels.max().clamp(min=-1)) + 1 + torch.arange(int(unknown.sum()))
        _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
        if len(sizes) < 2:
            raise ValueError('labels must be of at least 2 classes: there are no negatives')
        self.order.copy_(classes.argsort(stable=True))
        self.start.copy_((sizes.cumsum(0) - sizes)[classes])
        self.count.copy_(sizes[classes])
        self._draws = self._number_of_draws(self.num_samples - sizes)
        self.filled = True

    def draw(self, index: Tensor) -> Tensor:
        """Draw negatives for samples of a batch, evenly among those of other classes.

        A sample's negatives are distinct, unless its pool holds fewer than are wanted: then they
        are drawn with replacement. Takes from the random state of the device.

        Args:
            index: Indices of the samples, shape ``(N,)``.

        Returns:
            Indices, int64, shape ``(N, negatives)``.

        Raises:
            RuntimeError: If :meth:`fill` was not called.
            TypeError, ValueError: If the indices are no integers in ``[0, num_samples)``.
        """
        if not self.filled:
            raise RuntimeError(
                'the classes of the samples are not known yet: call set_samples, as '
                'SampleTableHook does'
            )
        check_index(index, self.num_samples)
        index = index.long()
        start, count = self.start[index][:, None], self.count[index][:, None]
        pool = self.num_samples - count
        while True:
            drawn = torch.randint(_WIDE, (len(index), self._draws), device=index.device) % pool
            new = ~_repeats(drawn) | (pool < self.negatives)
            rank = new.cumsum(dim=1)
            # On the CPU alone, where nothing waits: enough are there by eight standard deviations.
            if drawn.device.type != 'cpu' or (rank[:, -1] >= self.negatives).all():
                break
        spot = torch.where(new & (rank <= self.negatives), rank - 1, self.negatives)
        place = F.pad(drawn[:, :0], (0, self.negatives + 1)).scatter_(1, spot, drawn)
        place = place[:, : self.negatives]
        return self.order[place + count * (place >= start)]  # the sample's own class is skipped

    def _number_of_draws(self, pools: Tensor) -> int:
        """Draws with replacement after which as many distinct ones are there, almost surely."""
        pools = pools[pools >= self.negatives]
        if not len(pools):
            return self.negatives
        pool = int(pools.min())
        found = torch.arange(self.negatives, dtype=torch.float64)
        new = (pool - found) / pool  # probability that the next draw is a new one
        mean, variance = (1 / new).sum().item(), ((1 - new) / new.square()).sum().item()
        return math.ceil(mean + _MARGIN * math.sqrt(variance))


def check_index(index: Tensor, num_samples: int) -> None:
    """Raise if indices of samples are none.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If shape or type differ, or an index lies outside ``[0, num_samples)``.
    """
    check_tensors(index=index)
    if index.dim() != 1:
        raise ValueError(f'index must have the shape (N,), got {tuple(index.shape)}')
    check_integer_type('index', index)
    check_range('index', index, num_samples, meaning='num_samples')


def _repeats(drawn: Tensor) -> Tensor:
    """Whether an entry of a row stands further left too, bool, same shape."""
    ordered, order = drawn.sort(dim=1, stable=True)
    repeated = F.pad(ordered[:, 1:] == ordered[:, :-1], (1, 0))
    return torch.empty_like(repeated).scatter_(1, order, repeated)
