"""Sources of features by class, and the run that collects statistics from one."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from mmengine.utils import ProgressBar
from torch import Tensor

from wkd_det.costs.matrix import listed_classes
from wkd_det.costs.statistics import ClassMoments, ClassSample


@dataclass(frozen=True)
class ClassExamples:
    """Features of the examples of one item; there may be none."""

    features: Tensor
    """Shape ``(N, D)``."""
    labels: Tensor
    """Position of the class of each in the source's ``class_names``, shape ``(N,)``."""
    keys: Tensor
    """A number per example, int64, shape ``(N,)``: the same whenever and wherever the item is
    read, different for all examples of a class."""


class FeatureSource(ABC):
    """A trained network, and items (images, batches) whose features it gives by class.

    The features of an item depend on the item, the seed and the weights, not on the items before
    it: then any number of processes see the same examples.
    """

    class_names: list[str]
    """All classes in the order of the logits, ``'background'`` included if it is one."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def examples(self, items: Sequence[int]) -> Iterator[ClassExamples]:
        """Yield the features of some items, one result per item, in their order."""

    @abstractmethod
    def classifier_rows(self) -> Tensor:
        """Weight vectors of the classes in the last layer, shape ``(C, D)``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Origin of the features for the metadata of a file.

        Teacher, layer, data, and the number of ``images``.
        """


Accumulator = TypeVar('Accumulator', ClassMoments, ClassSample)


_ROWS_AT_ONCE = 1024  # examples added together: a matrix of moments is read and written once


def collect(source: FeatureSource, accumulator: Accumulator, *, progress: bool) -> Accumulator:
    """Add all examples of a source to an accumulator; each process takes its share of items.

    Args:
        source: The same in every process.
        accumulator: Empty.
        progress: Show the progress of the first process: a bar with the remaining time on a
            terminal, ten lines in a log.

    Returns:
        The accumulator of all examples, in every process.

    Raises:
        ValueError: If a feature is not finite; the message names the class.
    """
    items = range(get_rank(), len(source), get_world_size())
    update = _progress(len(items)) if progress and get_rank() == 0 and len(items) else None
    waiting: list[ClassExamples] = []
    for examples in source.examples(items):
        if len(examples.labels):
            _check(examples, source.class_names)
            waiting.append(examples)
        if sum(len(one.labels) for one in waiting) >= _ROWS_AT_ONCE:
            _flush(waiting, accumulator)
        if update is not None:
            update()
    _flush(waiting, accumulator)
    return merged_over_processes(accumulator)


def _progress(total: int) -> Callable[[], None]:
    """Return a function to call after each of ``total`` items."""
    done, processes = 0, get_world_size()
    share = f' of the first of {processes} processes' if processes > 1 else ''
    bar = ProgressBar(total, file=sys.stderr) if sys.stderr.isatty() else None

    def update() -> None:
        nonlocal done
        done += 1
        if bar is not None:
            bar.update()
            sys.stderr.write('\n' if done == total else '')
        elif done * 10 // total > (done - 1) * 10 // total:
            print(f'features: {done}/{total}{share}', file=sys.stderr, flush=True)

    return update


def merged_over_processes(accumulator: Accumulator) -> Accumulator:
    """Merge the accumulators of all processes in the order of their ranks, in every process.

    Memory holds two at a time: that of the process and the one passed round.
    """
    merged = None
    for rank in range(get_world_size()):
        box = [accumulator if rank == get_rank() else None]
        broadcast_object_list(box, src=rank)
        if merged is None:
            merged = box[0]
        else:
            merged.merge(box[0])
    return merged


def _flush(waiting: list[ClassExamples], accumulator: ClassMoments | ClassSample) -> None:
    if waiting:
        accumulator.add(
            *(
                torch.cat([getattr(examples, name) for examples in waiting])
                for name in ('features', 'labels', 'keys')
            )
        )
        waiting.clear()


def _check(examples: ClassExamples, class_names: Sequence[str]) -> None:
    infinite = ~torch.isfinite(examples.features).all(1)
    if bool(infinite.any()):
        classes = examples.labels[infinite].unique().tolist()
        where = listed_classes(classes, class_names)
        raise ValueError(f'features must be finite, got NaN or infinity in {where}')
