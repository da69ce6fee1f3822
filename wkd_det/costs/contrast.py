"""Contrast of class distances: how unlike a constant cost they act, and how to raise it.

Where all distances are nearly the same, a transport with them is nearly that of a constant cost,
whatever they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wkd_det.costs.interface import ClassTable, CostSource, DerivedCost
from wkd_det.costs.matrix import TOLERANCE, check_distance
from wkd_det.costs.structure import off_diagonal_spread
from wkd_det.ops.checks import check_positive
from wkd_det.ops.transport import sinkhorn_cost

_ENTRIES = 25_600  # of the random histograms of one side, 256 of 100 classes


class PowerCost(DerivedCost):
    r"""Distances of another source raised to a power, with the mean that they had.

    .. math::
        d'_{ij} = d_{ij}^p \; \frac{\sum_{k \ne l} d_{kl}}{\sum_{k \ne l} d_{kl}^p}

    A power above 1 spreads distances that lie close together; the mean stays, so ``epsilon`` and
    the weight of the transport keep their meaning. Take it with ``sharpness=0``: sharpening
    presses large distances together again.

    Args:
        cost: Config of the source, or one.
        power: :math:`p`, > 0; 1 changes nothing.

    Raises:
        ValueError: If ``power`` is not positive and finite.
    """

    def __init__(self, cost: Mapping[str, Any] | CostSource, *, power: float = 4.0) -> None:
        check_positive(power=power)
        super().__init__(cost)
        self.power = power

    def __call__(self, table: ClassTable) -> Tensor:
        """Class distances of the classes of ``table`` in its order, shape ``(C, C)``."""
        distance = self.source(table)
        raised = distance.double() ** self.power
        total = raised.sum()
        scale = distance.double().sum() / total if total > 0 else 1.0
        return (raised * scale).to(distance.dtype)


def likeness_to_constant(cost: Tensor, *, epsilon: float = 0.05, num_iters: int = 10) -> float:
    """Cosine of the gradients of a transport with a cost and with a constant one of its mean.

    It is the mean over random pairs of histograms, the softmax of independent standard normal
    logits, of the cosine between the gradients by the logits of one side.

    Args:
        cost: Shape ``(C, C)``, symmetric, >= 0, 0 on the diagonal.
        epsilon: Entropic regularisation, in the unit of ``cost``, > 0.
        num_iters: Rounds of scaling, >= 1.

    Returns:
        At most 1; at 1, of equal distances and of two classes, the distances say nothing.

    Raises:
        ValueError: If the cost is none of that, ``epsilon <= 0`` or ``num_iters < 1``.

    >>> near = torch.tensor([[0, 1, 9], [1, 0, 9], [9, 9, 0]]) / 9
    >>> round(likeness_to_constant(near), 1), round(likeness_to_constant(1 - torch.eye(3)), 1)
    (0.7, 1.0)
    """
    cost = cost.double()
    check_distance(cost, tolerance=TOLERANCE)
    size = len(cost)
    if size < 3 or not off_diagonal_spread(cost)['std']:
        return 1.0
    mean = cost.sum() / (size * (size - 1))
    constant = torch.full_like(cost, mean).fill_diagonal_(0)
    generator = torch.Generator().manual_seed(0)
    shape = (2, max(_ENTRIES // size, 16), size)
    student, teacher = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradients = []
    for matrix in (cost, constant):
        logits = student.clone().requires_grad_()
        value = sinkhorn_cost(
            logits.softmax(1),
            teacher.softmax(1),
            matrix,
            epsilon=epsilon,
            num_iters=num_iters,
            log_domain=bool(epsilon < matrix.max() / 30),  # where the plain kernel vanishes
        )
        gradients += torch.autograd.grad(value.sum(), logits)
    return torch.nn.functional.cosine_similarity(*gradients, dim=1).mean().item()
