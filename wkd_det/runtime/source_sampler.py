"""Sampler of joined data sets: so many images of each in a batch, or batches of one and another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from wkd_det.ops.checks import check_booleans, check_integers


class SourceSampler(Sampler):
    """Draws from joined data sets in a fixed ratio: within each batch, or batch after batch.

    An epoch is one pass over the first data set, e.g. the labelled one; of the others it takes as
    much as the ratio asks for, and the next epoch goes on from there. Each is shuffled anew in
    every pass. What is drawn depends on seed and epoch alone, so a resumed run draws the same, in
    loops by epochs and by iterations. In several processes each draws images of its own, and all
    of them have equally many of each data set.

    Args:
        dataset: A ``ConcatDataset``.
        batch_size: That of the data loader, which must be told here too.
        source_ratio: A positive integer per data set. Its images in a batch are in this ratio,
            which must divide the batch; with ``alternate`` its batches are: ``[1, 2]`` gives one
            batch of the first and two of the second in turn.
        alternate: Give each batch images of one data set only.
        shuffle: Draw in random order; that of the data sets otherwise.
        seed: Seed of the draw, >= 0; the runner gives its own by default.

    Raises:
        TypeError: If the data set is not joined.
        ValueError: If the ratio has another length or does not divide the batch, or a number is no
            integer in its range, a switch is no boolean, or a data set is empty.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        source_ratio: Sequence[int],
        alternate: bool = False,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        check_booleans(alternate=alternate, shuffle=shuffle)
        if not hasattr(dataset, 'cumulative_sizes'):
            raise TypeError(
                f'SourceSampler draws from a ConcatDataset, got a {type(dataset).__name__}'
            )
        check_integers(batch_size=batch_size)
        ends = list(dataset.cumulative_sizes)
        if len(source_ratio) != len(ends):
            raise ValueError(
                f'source_ratio needs one number for each of the {len(ends)} data sets, got '
                f'{list(source_ratio)}'
            )
        for index, part in enumerate(source_ratio):
            check_integers(**{f'source_ratio[{index}]': part})
        whole = sum(source_ratio)
        if not alternate and batch_size % whole:
            raise ValueError(
                f'source_ratio {list(source_ratio)} has {whole} parts, which must divide '
                f'batch_size, got {batch_size}'
            )
        self._rank, self._processes = get_dist_info()
        self._seed = sync_random_seed() if seed is None else seed
        check_integers(0, seed=self._seed)
        self._shuffle = shuffle
        self._starts = [0, *ends[:-1]]
        self._sizes = [end - start for start, end in zip(self._starts, ends)]
        if 0 in self._sizes:
            raise ValueError(f'no data set may be empty, got {self._sizes} images')
        self._epoch = 0
        shares = [part * batch_size // whole for part in source_ratio]
        # Images of each data set in each batch of a cycle, which is repeated.
        self._cycle: list[list[int]] = [shares]
        if alternate:
            self._cycle = [
                [batch_size * (one == source) for one in range(len(ends))]
                for source, part in enumerate(source_ratio)
                for _ in range(part)
            ]
        first = sum(counts[0] for counts in self._cycle) * self._processes
        self._cycles = -(-self._sizes[0] // first)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is drawn next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of images of an epoch, of this process."""
        return self._cycles * sum(map(sum, self._cycle))

    def __iter__(self) -> Iterator[int]:
        in_cycle = [sum(counts) for counts in zip(*self._cycle)]
        # Places in the endless stream of each data set; processes take turns in it.
        places = [self._epoch * self._cycles * count * self._processes for count in in_cycle]
        passes: list[tuple[int, list[int]]] = [(-1, [])] * len(places)
        for _ in range(self._cycles):
            for counts in self._cycle:
                for source, count in enumerate(counts):
                    begin = places[source] + self._rank * count
                    for place in range(begin, begin + count):
                        number, within = divmod(place, self._sizes[source])
                        if passes[source][0] != number:
                            passes[source] = number, self._order(source, number)
                        yield self._starts[source] + passes[source][1][within]
                    places[source] += self._processes * count

    def _order(self, source: int, number: int) -> list[int]:
        """Order of a data set in its n-th pass."""
        size = self._sizes[source]
        if not self._shuffle:
            return list(range(size))
        return np.random.default_rng((self._seed, source, number)).permutation(size).tolist()
