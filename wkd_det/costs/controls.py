"""Controls for class distances: distances of known groups, and the same distances shuffled.

They answer what class distances are worth: known groups say what could be gained if they were
right, a shuffle what is left when their numbers stay and their meaning goes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wkd_det.costs.interface import ClassTable, CostSource, DerivedCost
from wkd_det.costs.matrix import BACKGROUND
from wkd_det.costs.report import groups_of, read_grouping
from wkd_det.ops.checks import check_integers, check_positive
from wkd_det.runtime.class_names import spelling


class GroupCost(CostSource):
    """Distances of a grouping of the classes: 1 between groups, less within one.

    Background is a group of its own.

    Args:
        grouping: ``'cifar100'`` (20 superclasses), ``'coco'`` (12 supercategories), or a JSON file
            ``{class: group}``; see :func:`~wkd_det.costs.report.read_grouping`.
        within: Distance of two classes of a group, > 0.

    Raises:
        FileNotFoundError: If there is no such grouping.
        ValueError: If ``within`` is not positive and finite, or the file holds something else.
    """

    by_name = True

    def __init__(self, grouping: str | os.PathLike, *, within: float = 0.5) -> None:
        check_positive(within=within)
        self.grouping = grouping
        self.within = within
        self._group_of = read_grouping(grouping)

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``.

        Raises:
            ValueError: If the classes have no names, or one has no group.
        """
        groups = groups_of(table.require_names(), self._group_of, str(self.grouping))
        places = torch.tensor([groups.index(group) for group in groups])
        same = places[:, None] == places
        return torch.ones(same.shape).masked_fill(same, float(self.within)).fill_diagonal_(0)


class ShuffledCost(DerivedCost):
    """Distances of another source, given to other classes at random.

    The numbers stay, and with them their spread, every class's set of distances and which sets of
    classes lie close together. Which classes these are is drawn with a seed. Background keeps its
    place.

    Args:
        cost: Config of the source, or one.
        seed: Seed of the permutation of the classes, >= 0.

    Raises:
        ValueError: If ``seed`` is no such integer.
    """

    def __init__(self, cost: Mapping[str, Any] | CostSource, *, seed: int = 0) -> None:
        check_integers(0, seed=seed)
        super().__init__(cost)
        self.seed = seed

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``."""
        distance = self.source(table)
        names = table.names or [''] * len(distance)
        moved = np.array([i for i, name in enumerate(names) if spelling(name) != BACKGROUND])
        order = np.arange(len(distance))
        order[moved] = np.random.default_rng(self.seed).permutation(moved)
        order = torch.from_numpy(order)
        return distance[order][:, order]
