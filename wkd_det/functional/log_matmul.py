"""Matrix product on logarithms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.functional.blocks import equal_parts

_BLOCK_ELEMENTS = 2**22  # of the (rows, C, C) scratch: 16 MiB in float32


def log_matmul_exp(left: Tensor, right: Tensor) -> Tensor:
    r"""``log(exp(left) @ exp(right))`` without underflow.

    .. math:: y_{nj} = \log \sum_i \exp(a_{ni} + b_{ij})

    The ``(N, I, J)`` sum is walked in blocks of samples, forward and backward, so memory is
    bounded whatever ``N`` is.

    Args:
        left: Shape ``(N, I)``; ``-inf`` stands for 0.
        right: Shape ``(I, J)``, or ``(N, I, J)``: a matrix for each row of ``left``.
            ``-inf`` stands for 0.

    Returns:
        Shape ``(N, J)``, ``-inf`` where nothing is summed.
    """
    return _LogMatmulExp.apply(left, right)


class _LogMatmulExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor) -> Tensor:
        out = left.new_empty(left.shape[0], right.shape[-1])
        for rows in _blocks(left, right):
            torch.logsumexp(left[rows, :, None] + _of(right, rows), dim=1, out=out[rows])
        ctx.save_for_backward(left, right, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right, out = ctx.saved_tensors
        empty = out == -torch.inf  # no term, no gradient
        grad = grad.masked_fill(empty, 0)
        out = out.masked_fill(empty, 0)
        grad_left = torch.zeros_like(left)
        grad_right = torch.zeros_like(right) if ctx.needs_input_grad[1] else None
        for rows in _blocks(left, right):
            share = (left[rows, :, None] + _of(right, rows) - out[rows, None, :]).exp_()
            share *= grad[rows, None, :]
            grad_left[rows] = share.sum(dim=2)
            if grad_right is not None:
                _of(grad_right, rows).add_(share if right.dim() == 3 else share.sum(dim=0))
        return grad_left, grad_right


def _of(right: Tensor, rows: slice) -> Tensor:
    return right[rows] if right.dim() == 3 else right


def _blocks(left: Tensor, right: Tensor) -> list[slice]:
    return equal_parts(left.shape[0], _BLOCK_ELEMENTS // max(right.shape[-2:].numel(), 1))
