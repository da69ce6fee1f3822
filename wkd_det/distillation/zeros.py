"""A zero that gives its sources zero gradients, for parameters that a step has passed by."""

from __future__ import annotations

from typing import Any

from torch import Tensor, autograd
from torch.autograd.function import FunctionCtx, once_differentiable


def zero_of(*sources: Tensor) -> Tensor:
    """0 whose gradient with respect to each of the tensors is 0; scalar.

    Under DDP every parameter wants a gradient in every step. ``0 * source.sum()`` gives it as
    well, in two launches forward and several backward per tensor, after reading all of it.

    Args:
        *sources: At least one, of any shapes.

    Returns:
        In the type and on the device of the first.

    >>> import torch
    >>> source = torch.tensor([2.0, float('inf')], requires_grad=True)
    >>> zero_of(source).backward()
    >>> source.grad
    tensor([0., 0.])
    """
    return _Zero.apply(*sources)


class _Zero(autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *sources: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.sources = [(one.shape, one.dtype, one.device) for one in sources]
        return sources[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor | None) -> tuple[Any, ...]:
        if grad is None:
            return (None,) * len(ctx.sources)
        zeros: dict[Any, Tensor] = {}
        for _, dtype, device in ctx.sources:
            if (dtype, device) not in zeros:
                zeros[dtype, device] = grad.new_zeros((), dtype=dtype, device=device)
        return tuple(zeros[dtype, device].expand(shape) for shape, dtype, device in ctx.sources)
