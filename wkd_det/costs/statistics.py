"""Statistics of classes from a stream of examples: moments, and a random sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wkd_det.ops.checks import check_booleans, check_integers


class ClassMoments:
    """Count, mean and scatter of the features of each class; two of them merge into one.

    Everything is float64. Merging follows Chan, Golub and LeVeque, so a mean that dwarfs the
    spread costs no precision, and the order of merging matters only by rounding.

    Args:
        num_classes: ``C``.
        full: Keep scatter matrices ``(C, D, D)``, 8 ``C D^2`` bytes; else their diagonals. The
            first examples set ``D``.

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
        check_booleans(full=full)
        self.full = full
        self._allocate(num_classes, 0)

    def _allocate(self, num_classes: int, dims: int) -> None:
        shape = (num_classes, dims, dims) if self.full else (num_classes, dims)
        self.count = torch.zeros(num_classes, dtype=torch.int64)
        self.mean = torch.zeros(num_classes, dims, dtype=torch.float64)
        self.scatter = torch.zeros(shape, dtype=torch.float64)

    def add(self, features: Tensor, labels: Tensor, keys: Tensor | None = None) -> None:
        """Add some examples.

        Args:
            features: Shape ``(N, D)``.
            labels: Shape ``(N,)``, in [0, num_classes).
            keys: Not used; see :meth:`ClassSample.add`.

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
        """Add the examples of another one.

        Raises:
            ValueError: If the shapes differ.
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


class ClassSample:
    """Random sample of ``size`` examples per class; two of them merge into one.

    Every example has a key of its own (image and place in it). A hash of seed and key ranks the
    examples, and those of lowest rank stay: a uniform sample without replacement that depends on
    seed and examples only, not on their order nor on how they were spread over processes.

    Args:
        num_classes: ``C``.
        size: Examples kept per class, >= 1.
        seed: Random seed of the ranks.

    Raises:
        ValueError: If ``size`` is not positive.
    """

    def __init__(self, num_classes: int, size: int, *, seed: int = 0) -> None:
        check_integers(size=size)
        self.num_classes = num_classes
        self.size = size
        self.seed = seed
        self._rank: list[np.ndarray] = [np.empty(0, np.uint64)] * num_classes
        self._features: list[Tensor | None] = [None] * num_classes

    @property
    def count(self) -> Tensor:
        """Number of examples kept per class, int64, shape ``(C,)``."""
        return torch.tensor([len(rank) for rank in self._rank])

    def add(self, features: Tensor, labels: Tensor, keys: Tensor) -> None:
        """Add some examples.

        Args:
            features: Shape ``(N, D)``; kept as float32.
            labels: Shape ``(N,)``, in [0, num_classes).
            keys: Shape ``(N,)``, int64, different for all examples of a class.
        """
        rank = _hashed(keys.cpu().numpy(), self.seed)
        labels = labels.cpu()
        features = features.detach().cpu().float()
        for label in labels.unique().tolist():
            rows = (labels == label).nonzero().flatten()
            self._keep(label, rank[rows.numpy()], features[rows])

    def merge(self, other: ClassSample) -> None:
        """Add the examples of another one.

        Raises:
            ValueError: If number of classes, size or seed differ.
        """
        own = (self.num_classes, self.size, self.seed)
        others = (other.num_classes, other.size, other.seed)
        if own != others:
            raise ValueError(
                'both samples must have one number of classes, size and seed, got '
                f'{own} and {others}'
            )
        for label, (rank, features) in enumerate(zip(other._rank, other._features)):
            if features is not None:
                self._keep(label, rank, features)

    def of_class(self, label: int) -> Tensor:
        """Features of the examples kept of a class, in the order of their ranks, ``(n, D)``.

        Raises:
            ValueError: If the class has none.
        """
        features = self._features[label]
        if features is None:
            raise ValueError(f'class {label} has no examples')
        return features

    def moments(self, *, full: bool = False) -> ClassMoments:
        """Moments of the examples kept, equal bit for bit for the same examples."""
        moments = ClassMoments(self.num_classes, full=full)
        for label, features in enumerate(self._features):
            if features is not None:
                moments.add(features, torch.full((len(features),), label))
        return moments

    def _keep(self, label: int, rank: np.ndarray, features: Tensor) -> None:
        if self._features[label] is not None:
            if len(self._rank[label]) == self.size:  # most of a long stream ends here
                lower = rank < self._rank[label][-1]
                rank, features = rank[lower], features[torch.from_numpy(lower)]
            rank = np.concatenate([self._rank[label], rank])
            features = torch.cat([self._features[label], features])
        lowest = np.argsort(rank, kind='stable')[: self.size]
        self._rank[label] = rank[lowest]
        self._features[label] = features[torch.from_numpy(lowest)]


def _hashed(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return a 64-bit rank per key: the finalizer of SplitMix64, a bijection for any seed.

    References: Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    with np.errstate(over='ignore'):
        mixed = keys.astype(np.uint64) + _mixed(np.array([seed + 1]).astype(np.uint64))
        return _mixed(mixed)


def _mixed(value: np.ndarray) -> np.ndarray:
    value = value * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
