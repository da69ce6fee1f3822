"""Figures of a matrix over classes: neighbours, groups, spread, rank and correlation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from wkd_det.costs.matrix import check_symmetric
from wkd_det.ops.checks import is_integer


def structure_report(
    cost: Tensor,
    *,
    num_neighbors: int = 5,
    groups: Sequence[Hashable] | None = None,
    reference: Tensor | None = None,
) -> dict:
    """Collect all figures of this module about a matrix of distances or costs.

    Args:
        cost: Distance or cost, shape ``(C, C)``: near classes have small entries.
        num_neighbors: Number of nearest classes, >= 1; at most ``C - 1`` are taken, and the
            result says how many.
        groups: Group of each class, such as its COCO supercategory; ``C`` values.
        reference: Another matrix over the same classes to correlate with, shape ``(C, C)``.

    Returns:
        ``num_classes``, ``off_diagonal``, ``additive_effect``, ``effective_rank``,
        ``nearest_classes``, and, if ``groups`` or ``reference`` is given, ``grouping`` or
        ``correlation``.

    Raises:
        ValueError: As the other functions of this module.

    Example:
        >>> report = structure_report(1 - torch.eye(4), groups=['pet', 'pet', 'car', 'car'])
        >>> report['off_diagonal']['std'], report['grouping']['agreement']
        (0.0, 0.3333333333333333)
    """
    spread = off_diagonal_spread(cost)
    num_neighbors = min(num_neighbors, len(cost) - 1)
    report = dict(
        num_classes=len(cost),
        off_diagonal=spread,
        additive_effect=additive_effect(cost),
        effective_rank=effective_rank(cost),
        nearest_classes=dict(
            num_neighbors=num_neighbors,
            indices=nearest_classes(cost, num_neighbors=num_neighbors),
        ),
    )
    if groups is not None:
        report['grouping'] = grouping_agreement(cost, groups, num_neighbors=num_neighbors)
    if reference is not None:
        report['correlation'] = matrix_correlation(cost, reference)
    return report


def nearest_classes(cost: Tensor, *, num_neighbors: int) -> list[list[int]]:
    """Indices of the nearest other classes of each class, nearest first; ties by index.

    Args:
        cost: Distance or cost, shape ``(C, C)``: near classes have small entries.
        num_neighbors: Number of nearest classes, in [1, C - 1].

    Returns:
        One list of ``num_neighbors`` indices per class.

    Raises:
        ValueError: If ``num_neighbors`` is out of range, or the matrix is not symmetric and
            finite.

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
    """Share of the nearest classes of each class that are in its group, against chance.

    Convention:
        - Classes that tie for the last places share them, so a constant cost scores chance
          exactly.
        - A class alone in its group (such as background) cannot agree; it is left out of the
          means but stays a possible neighbour of others.

    Args:
        cost: Distance or cost, shape ``(C, C)``: near classes have small entries.
        groups: Group of each class, ``C`` values (ids or names).
        num_neighbors: Number of nearest classes, in [1, C - 1].
        num_permutations: Random relabellings behind ``chance_std``, >= 2.
        seed: Random seed of the relabellings.

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


def off_diagonal_spread(matrix: Tensor) -> dict[str, float]:
    """Least, largest, mean and standard deviation (population) off the diagonal.

    Raises:
        ValueError: If the matrix is not symmetric and finite.

    Example:
        >>> off_diagonal_spread(torch.tensor([[0.0, 0.5], [0.5, 0.0]]))
        {'min': 0.5, 'max': 0.5, 'mean': 0.5, 'std': 0.0}
    """
    check_symmetric(matrix)
    entries = _upper(matrix)
    constant = bool((entries == entries[0]).all())  # the mean of equal numbers is rounded
    return dict(
        min=entries.min().item(),
        max=entries.max().item(),
        mean=entries[0].item() if constant else entries.mean().item(),
        std=0.0 if constant else entries.std(correction=0).item(),
    )


def additive_effect(matrix: Tensor) -> dict:
    r"""Share of the off-diagonal variance that is one number per class.

    The least-squares fit :math:`m_{ij} \approx r_i + r_j` over :math:`i \ne j` explains what
    makes a class far from (or close to) *all* others. It says nothing about which classes are
    alike, and it hardly changes a transport plan.

    Args:
        matrix: Symmetric, shape ``(C, C)``; the diagonal does not matter.

    Returns:
        ``share`` in [0, 1]; ``chance``, the share expected of independent entries,
        ``(C - 1) / (C (C - 1) / 2 - 1)``; ``per_class``, the :math:`r_i`. The first is None for a
        constant matrix, all for fewer than 4 classes, where the fit is always exact.

    Raises:
        ValueError: If the matrix is not symmetric and finite.

    Example:
        >>> r = torch.tensor([0.0, 1.0, 2.0, 3.0])
        >>> effect = additive_effect((r[:, None] + r).fill_diagonal_(0))
        >>> round(effect['share'], 6), effect['chance'], effect['per_class']
        (1.0, 0.6, [0.0, 1.0, 2.0, 3.0])
    """
    check_symmetric(matrix)
    classes = len(matrix)
    if classes < 4:
        return dict(share=None, chance=None, per_class=None)
    entries, effect = _upper(matrix), _class_effect(matrix)
    share = None
    if bool((entries != entries[0]).any()):
        left = entries - _upper(effect[:, None] + effect)
        variance = (entries - entries.mean()).square().sum()
        share = min(max(1 - (left.square().sum() / variance).item(), 0.0), 1.0)
    chance = (classes - 1) / (classes * (classes - 1) / 2 - 1)
    return dict(share=share, chance=chance, per_class=effect.tolist())


def effective_rank(matrix: Tensor) -> dict:
    r"""Number of directions that the classes spread over: exp of a spectral entropy.

    The spectrum is the magnitudes of the eigenvalues of :math:`H M_0 H`, the matrix with its
    diagonal set to 0 and all row and column means removed (:math:`H = I - 1 1^T / C`); for a
    distance this is, up to a factor, the Gram matrix of classical multidimensional scaling.

    Convention:
        Equally distant classes have the largest value, ``C - 1``: no structure. Classes on a line
        at squared distances have 1. Meant for costs and distances; a similarity must be turned
        into a distance first, since its diagonal is dropped.

    Args:
        matrix: Distance or cost, shape ``(C, C)``.

    Returns:
        ``value`` in [1, C - 1], or None if the matrix off the diagonal is zero; ``maximum``,
        ``C - 1``.

    Raises:
        ValueError: If the matrix is not symmetric and finite.

    References: Roy, Vetterli, The effective rank, EUSIPCO 2007.

    Example:
        >>> round(effective_rank(1 - torch.eye(5))['value'], 6)  # equally far apart
        4.0
    """
    check_symmetric(matrix)
    square = matrix.detach().double().clone().fill_diagonal_(0)
    square = square - square.mean(0) - square.mean(1, keepdim=True) + square.mean()
    spectrum = torch.linalg.eigvalsh((square + square.mT) / 2).abs()
    value = None
    if float(spectrum.max()) > 0:
        share = spectrum / spectrum.sum()
        value = math.exp(torch.special.entr(share).sum().item())
    return dict(value=value, maximum=len(matrix) - 1)


def matrix_correlation(first: Tensor, second: Tensor) -> dict[str, float | None]:
    """Pearson and Spearman correlation of two matrices off the diagonal.

    Convention:
        - Each pair of classes counts once; equal entries share their mean rank.
        - ``pairwise`` is the Pearson correlation of the residuals of the fits of
          :func:`additive_effect`: whether the matrices agree on which classes are alike, not
          only on which ones are far from all others.

    Args:
        first: Symmetric, shape ``(C, C)``; the diagonal does not matter.
        second: Same shape.

    Returns:
        ``pearson``, ``spearman`` and ``pairwise`` in [-1, 1]; None where a matrix is constant or
        (``pairwise``) nothing is left.

    Raises:
        ValueError: If the shapes differ or a matrix is not symmetric and finite.

    Example:
        >>> a = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 4.0], [2.0, 4.0, 0.0]])
        >>> found = matrix_correlation(a, a.exp())
        >>> round(found['pearson'], 4), round(found['spearman'], 4), found['pairwise']
        (0.9684, 1.0, None)
    """
    if first.shape != second.shape:
        raise ValueError(
            f'both matrices must cover the same classes, got shapes {tuple(first.shape)} '
            f'and {tuple(second.shape)}'
        )
    check_symmetric(first)
    check_symmetric(second)
    one, other = _upper(first), _upper(second).to(first.device)
    return dict(
        pearson=_pearson(one, other),
        spearman=_pearson(_ranks(one), _ranks(other)),
        pairwise=_pearson(_beyond_effects(first), _beyond_effects(second).to(first.device)),
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


def _upper(matrix: Tensor) -> Tensor:
    """Entries above the diagonal in float64, each pair of classes once."""
    row, column = torch.triu_indices(*matrix.shape, offset=1, device=matrix.device)
    return matrix.detach().double()[row, column]


def _class_effect(matrix: Tensor) -> Tensor:
    """Least-squares :math:`r_i` of :func:`additive_effect`, float64; at least 3 classes."""
    classes = len(matrix)
    square = matrix.detach().double()
    row = square.sum(1) - square.diagonal()
    # Normal equations: row_i = (C - 2) r_i + sum(r), hence sum(row) = 2 (C - 1) sum(r).
    return (row - row.sum() / (2 * (classes - 1))) / (classes - 2)


def _beyond_effects(matrix: Tensor) -> Tensor:
    """Rest of the entries above the diagonal after the additive effect; 0 where only rounding."""
    entries = _upper(matrix)
    if len(matrix) < 4:  # the fit is exact
        return torch.zeros_like(entries)
    effect = _class_effect(matrix)
    left = entries - _upper(effect[:, None] + effect)
    rounding = 1e-12 * entries.abs().max()
    return torch.where(left.abs() > rounding, left, torch.zeros_like(left))


def _pearson(first: Tensor, second: Tensor) -> float | None:
    if bool((first == first[0]).all()) or bool((second == second[0]).all()):
        return None
    first, second = first - first.mean(), second - second.mean()
    value = (first / first.norm()) @ (second / second.norm())
    return min(max(value.item(), -1.0), 1.0)


def _ranks(values: Tensor) -> Tensor:
    _, index, counts = values.unique(return_inverse=True, return_counts=True)
    counts = counts.double()
    return (counts.cumsum(0) - (counts - 1) / 2)[index]
