"""Precision of the losses, their mean over samples, and blocks of about equal length."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from wkd_det.ops.checks import check_tensors, values_are_due


def promote(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in one floating type of at least 32 bits.

    Half precision becomes float32; float64 wins when any argument has it, so that gradient
    checks run in float64 throughout.

    >>> a, b = promote(torch.ones(1, dtype=torch.float16), torch.ones(1, dtype=torch.bfloat16))
    >>> a.dtype, b.dtype
    (torch.float32, torch.float32)
    """
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    dtype = torch.float64 if double else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Switch autocast off on the device of ``tensor``."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)


def matrix_product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product ``left @ right`` whose gradient is computed without autocast too.

    ``backward()`` may be called inside an autocast block; plain products would then be made in
    half precision, although the forward pass was not.

    Args:
        left: Shape ``(..., I, K)``.
        right: Shape ``(..., K, J)``, with the same leading axes.

    Returns:
        Shape ``(..., I, J)``.
    """
    return _MatrixProduct.apply(left, right)


class _MatrixProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        with without_autocast(left):
            return left @ right

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensors
        by_left, by_right = ctx.needs_input_grad
        return (
            matrix_product(grad, right.mT) if by_left else None,
            matrix_product(left.mT, grad) if by_right else None,
        )


def weighted_mean(
    per_sample: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
) -> Tensor:
    """Mean of a loss over samples.

    Convention:
        ``sum(weight * per_sample) / avg_factor``; the divisor is by default the number of samples,
        whatever the weights are (as in ``mmdet.models.losses.weight_reduce_loss``).

    Args:
        per_sample: Shape ``(N,)``; no samples give 0, still part of the graph.
        weight: Shape ``(N,)``.
        avg_factor: Positive divisor.

    Returns:
        Scalar.

    Raises:
        TypeError: If ``weight`` is no tensor.
        ValueError: If the shape of ``weight`` differs or ``avg_factor`` is not positive.
    """
    if weight is not None:
        check_tensors(weight=weight)
        if weight.shape != per_sample.shape:
            raise ValueError(
                f'weight must have the shape of the samples {tuple(per_sample.shape)}, '
                f'got {tuple(weight.shape)}'
            )
        per_sample = per_sample * weight
    if avg_factor is None:
        return per_sample.mean() if per_sample.numel() else per_sample.sum()
    if values_are_due(avg_factor, 'avg_factor') and not avg_factor > 0:
        raise ValueError(f'avg_factor must be positive, got {avg_factor}')
    return per_sample.sum() / avg_factor


def scaled(values: Tensor, factor: float | Tensor) -> Tensor:
    """Return ``factor * values``; no operation is spent on the number 1.

    >>> values = torch.ones(2)
    >>> scaled(values, 1.0) is values, scaled(values, 0.5)
    (True, tensor([0.5000, 0.5000]))
    """
    return values if is_one(factor) else factor * values


def is_one(factor: float | Tensor) -> bool:
    """Whether a factor is the number 1; a tensor is not looked into."""
    return not isinstance(factor, Tensor) and factor == 1


def equal_parts(length: int, most: int) -> list[slice]:
    """Cut an axis into the fewest parts of at most ``most`` elements, of about equal length.

    >>> equal_parts(10, 4)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    count = -(-length // max(most, 1))
    return [slice(i * length // count, (i + 1) * length // count) for i in range(count)]
