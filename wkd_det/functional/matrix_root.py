"""Square root of symmetric matrices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def matrix_root(matrix: Tensor) -> Tensor:
    r"""Symmetric square root of symmetric positive semi-definite matrices.

    Numerics:
        The gradient solves :math:`X \dot X + \dot X X = \dot P` in the basis of eigenvectors:
        it divides by sums of roots, not by differences of eigenvalues, so equal eigenvalues are
        harmless; at a singular matrix it is finite, though the true one is not.

    Args:
        matrix: Shape ``(..., C, C)``; float64 wanted, since a root halves the digits.

    Returns:
        Shape ``(..., C, C)``.

    >>> matrix_root(torch.tensor([[5.0, 4.0], [4.0, 5.0]])).round(decimals=4)  # [[2, 1], [1, 2]]^2
    tensor([[2., 1.],
            [1., 2.]])
    """
    return _Root.apply(matrix)


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, matrix: Tensor) -> Tensor:
        value, vector = eigen_root(matrix)
        ctx.save_for_backward(value, vector)
        return (vector * value[..., None, :]) @ vector.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        value, vector = ctx.saved_tensors
        value = nonzero(value)
        rotated = vector.mT @ ((grad + grad.mT) / 2) @ vector
        return vector @ (rotated / (value[..., :, None] + value[..., None, :])) @ vector.mT


def eigen_root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of the eigenvalues, shape ``(..., C)``, and eigenvectors, ``(..., C, C)``."""
    value, vector = torch.linalg.eigh(matrix)
    return value.clamp(min=0).sqrt(), vector


def nonzero(value: Tensor) -> Tensor:
    """Keep divisions finite: no value below the rounding of the largest one."""
    return torch.maximum(value, value.amax(-1, keepdim=True) * 1e-12 + 1e-150)
