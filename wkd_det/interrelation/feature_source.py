"""What the statistics of classes are made from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ClassExamples:
    """Features of the examples of one item, which may have none."""

    features: Tensor
    """Shape ``(N, D)``."""
    labels: Tensor
    """Position of the class of each in the source's ``class_names``, shape ``(N,)``."""
    keys: Tensor
    """A number for each, int64, shape ``(N,)``: the same whenever and wherever the item is read,
    different for all examples of a class."""


class FeatureSource(ABC):
    """A trained network and the items (images, batches) whose features it gives by class.

    What it gives for an item depends on the item, the seed and the weights, not on the items
    before it: then any number of processes see the same examples.
    """

    class_names: list[str]
    """All classes in the order of the logits, ``'background'`` among them if it is one."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def examples(self, items: Sequence[int]) -> Iterator[ClassExamples]:
        """Features of some items, one result for each, in their order."""

    @abstractmethod
    def classifier_rows(self) -> Tensor:
        """Weight vectors of the classes in the last layer, shape ``(C, D)``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Where the features come from, for the metadata of a file: teacher, layer, data, and
        the number of ``images``.
        """
