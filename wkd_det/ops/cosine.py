"""Cosine cost: one minus the cosine of all pairs of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from wkd_det.ops.arithmetic import matrix_product


def cosine_cost(source: Tensor, target: Tensor) -> Tensor:
    r"""One minus the cosine of all pairs: half the squared distance of vectors of length 1.

    .. math:: C_{ij} = 1 - \frac{a_i^T b_j}{\lVert a_i \rVert \lVert b_j \rVert}

    Convention:
        - Never below 0, where rounding would put it; the gradient is not cut there.
        - A vector of zeros has the cost 1 to every other.

    Args:
        source: :math:`a`, vectors as columns, shape ``(..., D, I)``; at least float32.
        target: :math:`b`, shape ``(..., D, J)``.

    Returns:
        Shape ``(..., I, J)``, in [0, 2].

    >>> import torch
    >>> cosine_cost(torch.tensor([[2.0], [0.0]]), torch.tensor([[3.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
    tensor([[0., 1., 2.]])
    """
    cost = 1 - matrix_product(F.normalize(source, dim=-2).mT, F.normalize(target, dim=-2))
    return cost + (-cost.detach()).clamp(min=0)
