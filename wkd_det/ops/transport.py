"""Entropic optimal transport between histograms: the only Sinkhorn of the project."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_integers, check_positive, check_tensors
from wkd_det.ops.scaling import log_matmul_exp, log_plan_cost, scaled_transport, scaling_vectors


def sinkhorn_cost(
    source: Tensor,
    target: Tensor,
    cost: Tensor,
    *,
    epsilon: float,
    num_iters: int = 10,
    log_domain: bool = False,
    support: Tensor | None = None,
) -> Tensor:
    r"""Transport cost of the entropic optimal plan, one value per sample.

    .. math::
        \langle P^\star, C \rangle, \qquad
        P^\star = \arg\min_P \langle P, C \rangle - \epsilon H(P)

    after ``num_iters`` rounds of matrix scaling. Samples that share the cost share the kernel
    ``exp(-cost / epsilon)``, so a round is two ``(N, C) x (C, C)`` products and no plan
    is ever built: memory is ``O(N C + C^2)``. Gradients are those of the rounds.

    Convention:
        - ``epsilon`` and the result carry the unit of ``cost``.
        - The entropy is not part of the result, so a histogram costs > 0 against itself.
        - A round updates the column scaling first and the row scaling last: the row marginals
          of the plan are exact (up to the guard, below), the column marginals converge.

    Numerics:
        The plain domain divides by sums of ``exp(-cost / epsilon)``, guarded by 1e-8 as in the
        reference. Where histograms hardly overlap the guard takes over: between two different
        one-hot rows the result is 8 % low at ``epsilon`` 1/20 of the cost between them, 10 % at
        1/30, 96 % at 1/40. So ``epsilon`` should be above about 1/30 of the largest cost.
        ``log_domain=True`` has no such limit (1/1000 and less is fine); it is much slower, and
        its memory stays bounded.

    Args:
        source: Row marginals, shape ``(N, C)``, rows sum to 1; zero entries are allowed.
        target: Column marginals, shape ``(N, C)``, rows sum to 1; zero entries are allowed.
        cost: Ground cost, shape ``(C, C)``, shared by the batch, or ``(N, C, C)``, one per
            sample; rows belong to ``source``.
        epsilon: Entropic regularisation, > 0.
        num_iters: Rounds of scaling, >= 1.
        log_domain: Iterate on logarithms of the scalings.
        support: Bool, shape ``(N, C)``: classes where the row scaling starts; elsewhere it is 0.
            All classes by default. A class that has no mass on either side and is left out here
            has no influence at all.

    Returns:
        Shape ``(N,)``, at least float32. Differentiable once, by ``source``, ``target`` and
        ``cost``; with ``log_domain`` a mass that is 0 gets a gradient of 0.

    Raises:
        TypeError: If a histogram or the cost is no tensor.
        ValueError: If shapes disagree, ``epsilon <= 0`` or ``num_iters < 1``.

    References: Cuturi, Sinkhorn Distances, NeurIPS 2013; log domain: Peyre and Cuturi,
        Computational Optimal Transport, 2019, section 4.4.

    Example:
        >>> cost = 1 - torch.eye(2)
        >>> half = torch.full((1, 2), 0.5)
        >>> sinkhorn_cost(half, half, cost, epsilon=1.0).round(decimals=4)  # 1 / (1 + e)
        tensor([0.2689])
    """
    check_transport(source, target, cost, epsilon, num_iters, support)
    with without_autocast(source):
        arguments = _prepared(source, target, cost, support)
        return cost_of_rounds(
            *arguments, epsilon=epsilon, num_iters=num_iters, log_domain=log_domain
        )


def sinkhorn_divergence(
    source: Tensor,
    target: Tensor,
    cost: Tensor,
    *,
    epsilon: float,
    num_iters: int = 10,
    log_domain: bool = False,
    support: Tensor | None = None,
) -> Tensor:
    r"""Transport cost less what histograms cost against themselves: 0 for equal ones.

    .. math::
        S(a, b) = \tfrac12 ( W(a, b) + W(b, a) - W(a, a) - W(b, b) )

    with :math:`W` of :func:`sinkhorn_cost`. After enough rounds, and for a symmetric cost,
    :math:`W(a, b) = W(b, a)`, and this is
    :math:`W(a, b) - \tfrac12 W(a, a) - \tfrac12 W(b, b)`. Both directions are taken because a few
    rounds favour one side: so value and gradient vanish at :math:`a = b` after any number of them.
    The four transports run as one batch.

    Convention:
        - ``epsilon`` and the result carry the unit of ``cost``.
        - :math:`W` is without the entropy, as everywhere in this package. Feydy et al. keep it and
          prove a divergence that is never negative; without it, as in Genevay et al., there is
          no such proof.

    Args:
        source: :math:`a`, shape ``(N, C)``, rows sum to 1; zero entries are allowed.
        target: :math:`b`, shape ``(N, C)``, rows sum to 1.
        cost: Ground cost, shape ``(C, C)`` or ``(N, C, C)``, symmetric.
        epsilon: Entropic regularisation, > 0.
        num_iters: Rounds of scaling, >= 1.
        log_domain: Iterate on logarithms of the scalings.
        support: Bool, shape ``(N, C)``: classes where the row scaling starts.

    Returns:
        Shape ``(N,)``, at least float32. Differentiable once, by ``source``, ``target`` and
        ``cost``.

    Raises:
        TypeError, ValueError: As :func:`sinkhorn_cost`.

    References: Genevay, Peyre, Cuturi, Learning Generative Models with Sinkhorn Divergences,
        AISTATS 2018; Feydy et al., Interpolating between Optimal Transport and MMD using Sinkhorn
        Divergences, AISTATS 2019.

    Example:
        >>> cost, half = 1 - torch.eye(2), torch.full((1, 2), 0.5)
        >>> sinkhorn_divergence(half, half, cost, epsilon=1.0)  # sinkhorn_cost: 0.2689
        tensor([0.])
    """
    check_transport(source, target, cost, epsilon, num_iters, support)
    with without_autocast(source):
        arguments = _prepared(source, target, cost, support)
        return divergence_of_rounds(
            *arguments, epsilon=epsilon, num_iters=num_iters, log_domain=log_domain
        )


@torch.no_grad()
def sinkhorn_plan(
    source: Tensor,
    target: Tensor,
    cost: Tensor,
    *,
    epsilon: float,
    num_iters: int = 10,
    log_domain: bool = False,
    support: Tensor | None = None,
) -> Tensor:
    r"""Transport plans of :func:`sinkhorn_cost`, for inspection: no gradient, memory of plans.

    .. math::
        P_{ij} = u_i \, e^{-C_{ij} / \epsilon} \, v_j

    Args:
        source: Row marginals, shape ``(N, C)``.
        target: Column marginals, shape ``(N, C)``.
        cost: Shape ``(C, C)`` or ``(N, C, C)``.
        epsilon: Entropic regularisation, > 0.
        num_iters: Rounds of scaling, >= 1.
        log_domain: Iterate on logarithms of the scalings.
        support: Bool, shape ``(N, C)``: classes where the row scaling starts.

    Returns:
        Mass from class ``i`` of the source to class ``j`` of the target, shape ``(N, C, C)``.

    Raises:
        TypeError, ValueError: As :func:`sinkhorn_cost`.

    Example:
        >>> plan = sinkhorn_plan(
        ...     torch.tensor([[1.0, 0.0]]), torch.full((1, 2), 0.5), 1 - torch.eye(2), epsilon=1.0
        ... )
        >>> plan.round(decimals=4)
        tensor([[[0.5000, 0.5000],
                 [0.0000, 0.0000]]])
    """
    check_transport(source, target, cost, epsilon, num_iters, support)
    with without_autocast(source):
        source, target, cost, start = _prepared(source, target, cost, support)
        log_kernel, num_iters = cost / -epsilon, int(num_iters)
        if log_domain:
            row, column = _log_scalings(source, target, log_kernel, num_iters, start)
            return (row[:, :, None] + log_kernel + column[:, None, :]).exp()
        kernel = log_kernel.exp()
        row, column = scaling_vectors(source, target, kernel, start, num_iters)
        return row[:, :, None] * kernel * column[:, None, :]


def cost_of_rounds(
    source: Tensor,
    target: Tensor,
    cost: Tensor,
    start: Tensor,
    *,
    epsilon: float,
    num_iters: int,
    log_domain: bool,
) -> Tensor:
    """:func:`sinkhorn_cost` of arguments that are checked and of one floating type.

    Args:
        source: Row marginals, shape ``(N, C)``.
        target: Column marginals, shape ``(N, C)``.
        cost: Shape ``(C, C)`` or ``(N, C, C)``.
        start: Row scaling at the start, shape ``(N, C)``, rows sum to 1.
        epsilon: Entropic regularisation, > 0.
        num_iters: Rounds of scaling, >= 1.
        log_domain: Iterate on logarithms of the scalings.

    Returns:
        Shape ``(N,)``.
    """
    log_kernel, num_iters = cost / -epsilon, int(num_iters)
    if log_domain:
        log_row, log_column = _log_scalings(source, target, log_kernel, num_iters, start)
        return log_plan_cost(log_row, log_column, log_kernel, cost)
    kernel = log_kernel.exp()
    return scaled_transport(source, target, kernel, kernel * cost, start, num_iters)


def divergence_of_rounds(
    source: Tensor, target: Tensor, cost: Tensor, start: Tensor, **options: Any
) -> Tensor:
    """:func:`sinkhorn_divergence` of the arguments of :func:`cost_of_rounds`, shape ``(N,)``."""
    there, back, own, other = cost_of_rounds(
        torch.cat([source, target, source, target]),
        torch.cat([target, source, source, target]),
        cost if cost.dim() == 2 else cost.repeat(4, 1, 1),
        start.repeat(4, 1),
        **options,
    ).chunk(4)
    return (there + back - own - other) / 2


def _prepared(
    source: Tensor, target: Tensor, cost: Tensor, support: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the arguments in one floating type, and a row scaling that is even on the support."""
    source, target, cost = promote(source, target, cost)
    if support is None:
        support = torch.ones_like(source)
    support = support.to(source)
    start = support / support.sum(dim=1, keepdim=True).clamp(min=1)
    return source, target, cost, start


def _log_scalings(
    source: Tensor, target: Tensor, log_kernel: Tensor, num_iters: int, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Logarithms of row and column scaling after the rounds, each ``(N, C)``."""
    log_source, log_target = _log(source), _log(target)
    log_row = torch.zeros_like(source).masked_fill(start == 0, -torch.inf)  # its scale is free
    for _ in range(num_iters):
        log_column = log_target - log_matmul_exp(log_row, log_kernel)
        log_row = log_source - log_matmul_exp(log_column, log_kernel.mT)
    return log_row, log_column


def _log(tensor: Tensor) -> Tensor:
    """Logarithm with -inf at 0 and a gradient of 0, not NaN, there."""
    positive = tensor > 0
    return torch.where(positive, tensor, 1.0).log().masked_fill(~positive, -torch.inf)


def check_transport(
    source: Tensor,
    target: Tensor,
    cost: Tensor,
    epsilon: float,
    num_iters: int,
    support: Tensor | None = None,
) -> None:
    """Raise if :func:`sinkhorn_cost` does not accept the arguments.

    Raises:
        TypeError, ValueError: With the name of the first wrong argument.
    """
    check_tensors(source=source, target=target, cost=cost)
    if support is not None:
        check_tensors(support=support)
    if source.dim() != 2 or source.shape != target.shape:
        raise ValueError(
            'source and target must share a shape (N, C), '
            f'got {tuple(source.shape)} and {tuple(target.shape)}'
        )
    samples, classes = source.shape
    if cost.shape not in ((classes, classes), (samples, classes, classes)):
        raise ValueError(
            f'cost must have the shape (N, C, C), N = {samples}, or (C, C) = '
            f'({classes}, {classes}), got {tuple(cost.shape)}'
        )
    check_positive(epsilon=epsilon)
    check_integers(num_iters=num_iters)
    if support is not None and (support.shape != source.shape or support.dtype != torch.bool):
        raise ValueError(
            f'support must be bool and have the shape {tuple(source.shape)}, '
            f'got {support.dtype} and {tuple(support.shape)}'
        )
