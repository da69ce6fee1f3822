"""Counts, means and covariances of classes from a stream of examples."""

from __future__ import annotations

import torch
from torch import Tensor


class ClassMoments:
    """Count, mean and scatter of the features of each class; two of them merge into one.

    Everything is float64. Merging follows Chan, Golub and LeVeque, so a mean that dwarfs the
    spread costs no precision, and what is merged in which order matters by rounding only.

    Args:
        num_classes: ``C``.
        full: Keep scatter matrices ``(C, D, D)``, 8 ``C D^2`` bytes; else their diagonals. ``D``
            is that of the first examples.

    References: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances, Stanford STAN-CS-79-773, 1979.

    Example:
        >>> moments = ClassMoments(2)
        >>> moments.add(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> moments.add(torch.tensor([[2.0]]), torch.tensor([1]))
        >>> moments.count.tolist(), moments.mean.flatten().tolist()
        ([2, 2], [2.0, 3.5])
        >>> moments.covariance().flatten().tolist()
        [2.0, 4.5]
    """

    def __init__(self, num_classes: int, *, full: bool = False) -> None:
        self.full = full
        self._allocate(num_classes, 0)

    def _allocate(self, num_classes: int, dims: int) -> None:
        shape = (num_classes, dims, dims) if self.full else (num_classes, dims)
        self.count = torch.zeros(num_classes, dtype=torch.int64)
        self.mean = torch.zeros(num_classes, dims, dtype=torch.float64)
        self.scatter = torch.zeros(shape, dtype=torch.float64)

    def add(self, features: Tensor, labels: Tensor, keys: Tensor | None = None) -> None:
        """Show it some examples.

        Args:
            features: Shape ``(N, D)``.
            labels: Shape ``(N,)``, in [0, num_classes).
            keys: Not needed; see :meth:`ClassSample.add`.

        Raises:
            ValueError: If shapes disagree or a label is out of range.
        """
        num_classes = len(self.count)
        _check(features, labels, num_classes)
        features, labels = features.detach().cpu().double(), labels.cpu()
        new = ClassMoments(num_classes, full=self.full)
        new._allocate(num_classes, features.shape[1])
        new.count = torch.bincount(labels, minlength=num_classes)
        divisor = new.count.clamp(min=1).double()[:, None]
        new.mean = new.mean.index_add(0, labels, features) / divisor
        centred = features - new.mean[labels]
        if self.full:
            for label in labels.unique().tolist():
                own = centred[labels == label]
                new.scatter[label] = own.mT @ own
        else:
            new.scatter = new.scatter.index_add(0, labels, centred.square())
        self.merge(new)

    def merge(self, other: ClassMoments) -> None:
        """Take the examples of another one in.

        Raises:
            ValueError: If the two are of another shape.
        """
        if not bool(other.count.any()):
            return
        if not bool(self.count.any()):
            self._allocate(len(other.count), other.mean.shape[1])
        if self.scatter.shape != other.scatter.shape:
            raise ValueError(
                f'both moments must have one shape, got {tuple(self.scatter.shape)} and '
                f'{tuple(other.scatter.shape)}'
            )
        for label in other.count.nonzero().flatten().tolist():
            own, more = int(self.count[label]), int(other.count[label])
            share = more / (own + more)
            step = other.mean[label] - self.mean[label]
            between = torch.outer(step, step) if self.full else step.square()
            self.scatter[label] += other.scatter[label] + own * share * between
            self.mean[label] += share * step
        self.count += other.count

    def covariance(self) -> Tensor:
        """Unbiased variances ``(C, D)`` or matrices ``(C, D, D)``; 0 for fewer than 2 examples."""
        divisor = (self.count - 1).clamp(min=1).double()
        return self.scatter / divisor.reshape([-1] + [1] * (self.scatter.dim() - 1))


def _check(features: Tensor, labels: Tensor, num_classes: int) -> None:
    if features.dim() != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            'features must have a shape (N, D) and labels (N,), got '
            f'{tuple(features.shape)} and {tuple(labels.shape)}'
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f'labels must lie in [0, {num_classes}), got {int(labels.min())} to {int(labels.max())}'
        )
