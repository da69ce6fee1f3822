"""A random sample of fixed size for each class from a stream of examples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wkd_det.functional.number_check import check_integers
from wkd_det.interrelation.class_moments import ClassMoments


class ClassSample:
    """Keeps ``size`` random examples of each class; two of them merge into one.

    Every example has a key of its own (image and place in it). A hash of seed and key ranks the
    examples, and those of lowest rank stay: a uniform sample without replacement that depends on
    seed and examples only, not on their order nor on how they were spread over processes.

    Args:
        num_classes: ``C``.
        size: Examples kept of each class, >= 1.
        seed: Of the ranks.

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
        """Examples kept of each class, int64, shape ``(C,)``."""
        return torch.tensor([len(rank) for rank in self._rank])

    def add(self, features: Tensor, labels: Tensor, keys: Tensor) -> None:
        """Show it some examples.

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
        """Take the examples of another one in.

        Raises:
            ValueError: If the two have other classes, sizes or seeds.
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
        """Features of the examples kept, in the order of their ranks, shape ``(n, D)``.

        Raises:
            ValueError: If the class has none.
        """
        features = self._features[label]
        if features is None:
            raise ValueError(f'class {label} has no examples')
        return features

    def moments(self, *, full: bool = False) -> ClassMoments:
        """Moments of the examples kept, the same bits for the same examples."""
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
    """One 64-bit rank for each key: the finalizer of SplitMix64, a bijection for any seed.

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
