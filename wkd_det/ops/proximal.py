"""Optimal transport by proximal points (IPOT): plans without an entropy that stays."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_integers, check_positive, check_tensors


def ipot_plan(cost: Tensor, *, beta: float = 0.5, outer: int = 50, inner: int = 1) -> Tensor:
    r"""Transport plan between two sets of points of equal mass, by inexact proximal points.

    Each outer step solves

    .. math::
        P^{(t+1)} = \arg\min_P \langle P, C \rangle + \beta \, KL(P \Vert P^{(t)})

    by ``inner`` rounds of matrix scaling, which go on from the scalings of the step before. The
    entropy is measured against the last plan, so it fades: the plan goes to an optimal one of the
    transport without entropy for any ``beta``, unlike that of
    :func:`~wkd_det.ops.transport.sinkhorn_plan`, which keeps its own.

    Convention:
        - Row masses 1 / I, column masses 1 / J. A round scales rows first and columns last, so
          the column masses are exact and the row masses converge.
        - The first plan is 1 everywhere, the first column scaling 1 / J.

    Numerics:
        Plans and scalings are kept as logarithms, so a small ``beta`` underflows nowhere.

    Args:
        cost: Shape ``(I, J)``; computed in at least float32.
        beta: Step size, > 0, in units of ``cost``: a larger one takes more outer steps.
        outer: Proximal steps, >= 1.
        inner: Rounds of scaling in each, >= 1.

    Returns:
        Shape ``(I, J)``. Differentiable through all rounds, which keep
        ``O(I J outer inner)`` numbers for it.

    Raises:
        TypeError: If the cost is no tensor.
        ValueError: If it is no matrix or has no entry, or a number is outside its range.

    References: Xie, Wang, Wang, Zha, A Fast Proximal Point Method for Computing Exact Wasserstein
        Distance, UAI 2019; the order of the scalings is that of its public ports.

    Example:
        >>> ipot_plan(1 - torch.eye(2)).round(decimals=4)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    check_proximal(beta, outer, inner)
    check_tensors(cost=cost)
    if cost.dim() != 2 or not cost.numel():
        raise ValueError(f'cost must have the shape (I, J) and entries, got {tuple(cost.shape)}')
    with without_autocast(cost):
        (cost,) = promote(cost)
        rows, columns = cost.shape
        step = cost / -beta
        log_plan = torch.zeros_like(cost)
        log_column = cost.new_full((columns,), -math.log(columns))
        for _ in range(int(outer)):
            log_kernel = step + log_plan
            for _ in range(int(inner)):
                log_row = -math.log(rows) - (log_kernel + log_column).logsumexp(dim=1)
                sums = (log_kernel + log_row[:, None]).logsumexp(dim=0)
                log_column = -math.log(columns) - sums
            log_plan = log_row[:, None] + log_kernel + log_column
        return log_plan.exp()


def check_proximal(beta: float, outer: int, inner: int) -> None:
    """Raise if a number of :func:`ipot_plan` is outside its range.

    Raises:
        ValueError: With the name of the first such number.
    """
    check_positive(beta=beta)
    check_integers(outer=outer, inner=inner)
