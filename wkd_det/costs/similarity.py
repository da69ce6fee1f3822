"""Cosine similarity of classes, the distance of unknown classes, and costs from distances.

Three words for three symmetric ``(C, C)`` matrices: the *similarity* of two classes to the teacher
(the paper's interrelation IR), 1 on the diagonal; their *distance* ``1 - similarity``, 0 on the
diagonal, which files and sources hold; the *cost* of transport between them, made from the distance
by sharpening.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wkd_det.costs.matrix import (
    TOLERANCE,
    check_distance,
    check_interrelation,
    listed_classes,
)
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_nonnegative


def cosine_interrelation(
    prototypes: Tensor, *, center: bool = False, class_names: Sequence[str] | None = None
) -> Tensor:
    """Cosine between the prototypes of all classes: centroids, classifier rows, embeddings.

    Convention:
        - The range is [-1, 1]. Negative values stay: the distance of opposite prototypes is
          2, that of orthogonal ones 1.
        - ``center`` removes the mean of all prototypes first, so that their common part
          (features after a ReLU are all positive) does not count. The mean value off the
          diagonal is then about ``-1 / (C - 1)``, and -1 exactly for two classes.

    Args:
        prototypes: Shape ``(C, D)``, ``C >= 2``.
        center: Remove the mean of all prototypes first.
        class_names: ``C`` names that errors give in place of indices.

    Returns:
        Shape ``(C, C)``, symmetric, 1 on the diagonal, at least float32; computed in float64.

    Raises:
        ValueError: If the shape is wrong, or if a prototype is not finite, is zero, or with
            ``center`` equals the common mean. The message names the classes.

    Example:
        >>> cosine_interrelation(torch.tensor([[1.0, 0.0], [3.0, 3.0], [-2.0, 0.0]]))
        tensor([[ 1.0000,  0.7071, -1.0000],
                [ 0.7071,  1.0000, -0.7071],
                [-1.0000, -0.7071,  1.0000]])
    """
    if prototypes.dim() != 2 or prototypes.shape[0] < 2 or prototypes.shape[1] < 1:
        raise ValueError(
            'prototypes must have a shape (C, D) with at least 2 classes, '
            f'got {tuple(prototypes.shape)}'
        )
    infinite = (~torch.isfinite(prototypes).all(1)).nonzero().flatten().tolist()
    if infinite:
        raise ValueError(
            'prototypes must be finite, got NaN or infinity in '
            f'{listed_classes(infinite, class_names)}'
        )
    with without_autocast(prototypes):
        (result_like,) = promote(prototypes)
        direction = prototypes.double()
        # A prototype that equals the mean leaves the rounding of its own precision.
        rounding = 8 * torch.finfo(result_like.dtype).eps * direction.detach().norm(dim=1)
        if center:
            direction = direction - direction.mean(0)
        length = direction.norm(dim=1)
        empty = length <= rounding if center else length == 0
        if bool(empty.any()):
            rule = 'differ from their common mean' if center else 'not be zero'
            found = listed_classes(empty.nonzero().flatten().tolist(), class_names)
            raise ValueError(f'prototypes must {rule} to have a direction, got {found}')
        direction = direction / length[:, None]
        cosine = direction @ direction.mT
        cosine = ((cosine + cosine.mT) / 2).clamp(-1, 1)
        same = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
        return cosine.masked_fill(same, 1).to(result_like)


def distance_to_cost(distance: Tensor, *, sharpness: float) -> Tensor:
    r"""Transport cost between classes from their distance.

    .. math::
        c_{ij} = 1 - \exp(-\kappa \, d_{ij}); \qquad c_{ij} = d_{ij} \text{ for } \kappa = 0

    Convention:
        - The greater the sharpness, the more equal the costs of all classes that are not close;
          the cost is below 1. ``sharpness=0`` is not the limit of small ones (that is 0) but
          the distance itself.
        - Distances above 1 (of opposite prototypes) are not clipped. Those below 0 by rounding
          count as 0.

    Args:
        distance: Shape ``(C, C)``, symmetric, >= 0, 0 on the diagonal.
        sharpness: :math:`\kappa`, >= 0.

    Returns:
        Shape ``(C, C)``, >= 0, exactly symmetric and exactly 0 on the diagonal; at least float32.

    Raises:
        ValueError: If ``sharpness`` is negative, or if the matrix is not square, floating,
            finite, symmetric, at least 0 and 0 on the diagonal (up to 1e-5). The message gives
            row, column and value.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, section 3.1.

    Example:
        >>> distance_to_cost(torch.tensor([[0.0, 0.5], [0.5, 0.0]]), sharpness=2.0)
        tensor([[0.0000, 0.6321],
                [0.6321, 0.0000]])
    """
    check_nonnegative(sharpness=sharpness)
    check_distance(distance, tolerance=TOLERANCE)
    (distance,) = promote(distance)
    return _sharpened((distance + distance.mT) / 2, sharpness)


def interrelation_to_cost(interrelation: Tensor, *, sharpness: float) -> Tensor:
    r"""Transport cost between classes from their interrelation.

    The cost that :func:`distance_to_cost` makes of the distance :math:`d_{ij} = 1 - IR_{ij}`.

    Args:
        interrelation: Shape ``(C, C)``, symmetric, at most 1, 1 on the diagonal.
        sharpness: :math:`\kappa`, >= 0.

    Returns:
        Shape ``(C, C)``, >= 0, exactly symmetric and exactly 0 on the diagonal; at least float32.

    Raises:
        ValueError: If ``sharpness`` is negative, or if the matrix is not square, floating,
            finite, symmetric, at most 1 and 1 on the diagonal (up to 1e-5). The message gives
            row, column and value.

    Example:
        >>> interrelation_to_cost(torch.tensor([[1.0, 0.5], [0.5, 1.0]]), sharpness=2.0)
        tensor([[0.0000, 0.6321],
                [0.6321, 0.0000]])
    """
    check_nonnegative(sharpness=sharpness)
    check_interrelation(interrelation)
    (interrelation,) = promote(interrelation)
    return _sharpened(1 - (interrelation + interrelation.mT) / 2, sharpness)


def with_unknown_classes(
    distance: Tensor, known: Sequence[int], num_classes: int, *, value: float | None = None
) -> tuple[Tensor, float]:
    """Place measured distances among all classes; unknown classes get one distance to all.

    Convention:
        An unknown class is neither near nor far: its distance to every other class is the median
        of the measured ones (the lower middle one of an even number). So transport prefers no
        class for it, and costs as much as between two typical classes.

    Args:
        distance: Distances between the known classes, shape ``(K, K)``.
        known: Positions of the known classes among all, ``K >= 2`` of them.
        num_classes: Number of all classes, ``C``.
        value: Distance of unknown classes; by default the median.

    Returns:
        Distances, shape ``(C, C)``, and the distance of the unknown classes.

    Raises:
        ValueError: If the number of positions is not that of rows, or fewer than two are known.

    Example:
        >>> known = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
        >>> with_unknown_classes(known, [0, 2], 3)[0]
        tensor([[0.0000, 0.5000, 0.5000],
                [0.5000, 0.0000, 0.5000],
                [0.5000, 0.5000, 0.0000]])
    """
    if len(known) != len(distance) or len(known) < 2:
        raise ValueError(
            f'known must be the positions of at least 2 classes, one per row of distance '
            f'({len(distance)}), got {len(known)}'
        )
    if value is None:
        row, column = torch.triu_indices(len(known), len(known), 1)
        value = distance[row, column].median().item()
    whole = distance.new_full((num_classes, num_classes), value).fill_diagonal_(0)
    index = torch.as_tensor(known)
    whole[index[:, None], index] = distance
    return whole, value


def _sharpened(distance: Tensor, sharpness: float) -> Tensor:
    same = torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    distance = distance.clamp(min=0).masked_fill(same, 0)
    return distance if sharpness == 0 else -torch.expm1(-sharpness * distance)
