"""Which classes are near each other under a cost, and whether they belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from wkd_det.functional.class_matrix import check_symmetric
from wkd_det.functional.number_check import is_integer


def nearest_classes(cost: Tensor, *, num_neighbors: int) -> list[list[int]]:
    """Indices of the nearest other classes of each class, nearest first; ties by index.

    Raises:
        ValueError: If ``num_neighbors`` is not in [1, C - 1].

    Example:
        >>> position = torch.tensor([0.0, 1.0, 3.0])
        >>> nearest_classes((position[:, None] - position).abs(), num_neighbors=2)
        [[1, 2], [0, 2], [1, 0]]
    """
    check_symmetric(cost, name='cost')
    _check_neighbors(num_neighbors, len(cost))
    others = cost.detach().clone().fill_diagonal_(float('inf'))
    return others.sort(dim=1, stable=True).indices[:, :num_neighbors].tolist()


def grouping_agreement(
    cost: Tensor,
    groups: Sequence[Hashable],
    *,
    num_neighbors: int,
    num_permutations: int = 200,
    seed: int = 0,
) -> dict:
    """How often the nearest classes of a class share its group, against chance.

    Convention:
        - Classes that tie for the last places share them, so a constant cost scores chance
          exactly.
        - A class alone in its group (background, say) cannot agree; it is left out of the
          means but stays a possible neighbour of others.

    Args:
        cost: Shape ``(C, C)``: near classes have small entries.
        groups: Group of each class, ``C`` values (ids or names).
        num_neighbors: Nearest classes looked at, in [1, C - 1].
        num_permutations: Random relabellings behind ``chance_std``, >= 2.
        seed: Of those.

    Returns:
        ``num_neighbors``; ``agreement``, the mean share over classes; ``chance``, its expectation
        ``(group size - 1) / (C - 1)``, averaged over the same classes; ``chance_std``, its
        standard deviation under random relabelling; and ``per_group``, for every group with at
        least two classes the ``group``, ``size``, ``agreement`` and ``chance``.

    Raises:
        ValueError: If the number of groups is not that of classes, no two classes share a
            group, or an option is out of range.

    Example:
        >>> cost = torch.tensor([[0, 1, 9, 9], [1, 0, 9, 9], [9, 9, 0, 1], [9, 9, 1, 0.0]])
        >>> result = grouping_agreement(cost, ['pet', 'pet', 'car', 'car'], num_neighbors=1)
        >>> result['agreement'], result['per_group'][0]['group']
        (1.0, 'pet')
    """
    check_symmetric(cost, name='cost')
    classes = len(cost)
    _check_neighbors(num_neighbors, classes)
    groups = groups.tolist() if isinstance(groups, Tensor) else list(groups)
    if len(groups) != classes:
        raise ValueError(f'groups must name one group per class ({classes}), got {len(groups)}')
    if num_permutations < 2:
        raise ValueError(f'num_permutations must be at least 2, got {num_permutations}')
    sizes = Counter(groups)
    if max(sizes.values()) < 2:
        raise ValueError('groups must put at least two classes together, got only single ones')

    numbers = {group: number for number, group in enumerate(sizes)}
    group = torch.tensor([numbers[name] for name in groups])
    size = torch.tensor([sizes[name] for name in groups])
    weight = _neighbor_weight(cost.detach().cpu(), num_neighbors)
    counted = size > 1
    agreement = _agreement(weight, group)
    chance = (size - 1).double() / (classes - 1)

    generator = torch.Generator().manual_seed(seed)
    by_chance = []
    for _ in range(num_permutations):
        order = torch.randperm(classes, generator=generator)
        by_chance.append(_agreement(weight, group[order])[counted[order]].mean())
    return dict(
        num_neighbors=num_neighbors,
        agreement=agreement[counted].mean().item(),
        chance=chance[counted].mean().item(),
        chance_std=torch.stack(by_chance).std().item(),
        per_group=[
            dict(
                group=name,
                size=sizes[name],
                agreement=agreement[group == number].mean().item(),
                chance=(sizes[name] - 1) / (classes - 1),
            )
            for name, number in numbers.items()
            if sizes[name] > 1
        ],
    )


def _check_neighbors(num_neighbors: int, classes: int) -> None:
    if not is_integer(num_neighbors, 1) or num_neighbors >= classes:
        raise ValueError(
            f'num_neighbors must be an integer in [1, {classes - 1}], got {num_neighbors!r}'
        )


def _neighbor_weight(cost: Tensor, num_neighbors: int) -> Tensor:
    """Share that each class has in the neighbours of each other, rows sum to 1."""
    others = cost.double().clone().fill_diagonal_(float('inf'))
    last = others.kthvalue(num_neighbors, dim=1, keepdim=True).values
    nearer, tied = (others < last).double(), (others == last).double()
    places = num_neighbors - nearer.sum(1, keepdim=True)
    return (nearer + tied * places / tied.sum(1, keepdim=True)) / num_neighbors


def _agreement(weight: Tensor, group: Tensor) -> Tensor:
    return (weight * (group[:, None] == group)).sum(1)
