"""Optimal transport on a line: closed form for histograms over equal bins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import check_tensors

ORDERS = (1, 2)


def line_transport(source: Tensor, target: Tensor, *, order: int = 1) -> Tensor:
    r"""Wasserstein distance of histograms on a line, to the power of its order.

    .. math::
        W_p^p = \min_P \sum_{ij} P_{ij} |i - j|^p
              = \int_0^1 |F^{-1}(u) - G^{-1}(u)|^p \, du

    with the cumulative sums :math:`F_k = \sum_{i \le k} s_i` and :math:`G` of ``target``: on a line
    the best plan keeps the order, so no plan has to be found. For order 1 this is
    :math:`\sum_k |F_k - G_k|`. For order 2 it counts differences between unlike bins as well,

    .. math:: W_2^2 = \sum_k |F_k - G_k|
        + 2 \sum_{k < l} \left[ (F_k - G_l)_+ + (G_k - F_l)_+ \right],

    which for a point mass moved by :math:`m` bins is :math:`m + m (m - 1) = m^2`.

    The integrand is constant between neighbours among all sums, so sorting them gives the value,
    and the gradient is exact:

    .. math:: \frac{\partial W_p^p}{\partial F_k} = |k - y|^p - |k + 1 - y|^p,
        \quad y = G^{-1}(F_k)

    Memory is that of the histograms, whatever the number of bins.

    Convention:
        - Bins are one unit apart: the result is in bins for order 1, in squared bins for order 2.
        - There is no root: order 2 gives the squared distance, as everywhere in this package.
        - The gradient jumps where sums of both are equal; there it is 0, as that of :math:`(x)_+`.
          So equal histograms have the value 0 and a gradient of 0.

    Args:
        source: Shape ``(..., B)``, >= 0, sums to 1; any floating type, computed in at least
            float32.
        target: Same shape.
        order: :math:`p`, 1 or 2.

    Returns:
        Shape ``(...)``. Differentiable once, by both.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, or ``order`` is neither.

    References: Santambrogio, Optimal Transport for Applied Mathematicians, 2015, section 2.2;
        the sums over pairs: Cambanis, Simons, Stout, Z. Wahrscheinlichkeitstheorie 36, 1976.

    Example:
        >>> here, there = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.0, 0, 0, 1])
        >>> line_transport(here, there), line_transport(here, there, order=2)
        (tensor(3.), tensor(9.))
    """
    check_tensors(source=source, target=target)
    if source.dim() < 1 or source.shape != target.shape:
        raise ValueError(
            'source and target must share a shape (..., B), '
            f'got {tuple(source.shape)} and {tuple(target.shape)}'
        )
    check_order(order)
    with without_autocast(source):
        source, target = promote(source, target)
        return _LineTransport.apply(_sums(source), _sums(target), order)


def check_order(order: Any) -> None:
    """Raise if an order is not one of ``ORDERS``.

    Raises:
        ValueError: With the value.
    """
    if isinstance(order, bool) or order not in ORDERS:
        raise ValueError(f'order must be 1 or 2, got {order!r}')


def _sums(histogram: Tensor) -> Tensor:
    """Cumulative sums but the last, which is 1, also in torch's deterministic mode.

    ``cumsum`` of floating numbers is an error there on a GPU; a matrix product gives the same sums
    up to rounding.
    """
    bins = histogram.shape[-1]
    if not torch.are_deterministic_algorithms_enabled():
        return histogram.cumsum(dim=-1)[..., :-1]
    rows = histogram.reshape(-1, bins)
    sums = matrix_product(rows, histogram.new_ones(bins, bins).triu())
    return sums[:, :-1].reshape(*histogram.shape[:-1], bins - 1)


class _LineTransport(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, first: Tensor, second: Tensor, order: int) -> Tensor:
        first, second = first.contiguous(), second.contiguous()
        ctx.save_for_backward(first, second)
        ctx.order = order
        levels = torch.cat([first, second], dim=-1).sort(dim=-1).values
        lengths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1]))
        apart = torch.searchsorted(first, levels) - torch.searchsorted(second, levels)
        return (lengths * apart.abs().pow(order)).sum(dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        first, second = ctx.saved_tensors
        by_first, by_second, _ = ctx.needs_input_grad
        grad = grad[..., None]
        return (
            grad * _slope(first, second, ctx.order) if by_first else None,
            grad * _slope(second, first, ctx.order) if by_second else None,
            None,
        )


def _slope(own: Tensor, other: Tensor, order: int) -> Tensor:
    """Derivative by the cumulative sums ``own``; equal sums pull neither way."""
    bins = torch.arange(own.shape[-1], device=own.device)
    ahead = (torch.searchsorted(other, own) - bins).clamp(min=0)
    behind = (bins + 1 - torch.searchsorted(other, own, right=True)).clamp(min=0)
    up, down = (one.pow(order) - (one - 1).clamp(min=0).pow(order) for one in (ahead, behind))
    return (up - down).to(own)
