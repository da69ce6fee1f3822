"""Bures distance between covariance matrices, and those matrices per grid cell."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.functional.cell_pixels import cell_pixels
from wkd_det.functional.matrix_root import eigen_root, nonzero


def bures_squared(first: Tensor, second: Tensor, *, eps: float = 0.0) -> Tensor:
    r"""Squared Bures distance of covariance matrices.

    .. math:: tr(A + B - 2 (B^{1/2} A B^{1/2})^{1/2}), \quad A, B \text{ with } eps \cdot I

    Numerics:
        Works in float64. The gradient is the closed form :math:`I - T` with the optimal map
        :math:`T`, not that of an eigendecomposition, so equal eigenvalues and equal matrices are
        harmless; ``eps > 0`` keeps it finite for singular matrices.

    Args:
        first: Symmetric positive semi-definite, shape ``(..., C, C)``.
        second: Same shape.
        eps: Added to both diagonals.

    Returns:
        Shape ``(...)``, float64, >= 0 up to rounding.

    References: Bhatia, Jain, Lim, On the Bures-Wasserstein distance between positive definite
        matrices, Expositiones Mathematicae 2019.

    Example:
        >>> bures_squared(4 * torch.eye(3), torch.eye(3)).item()  # 3 * (2 - 1)^2
        3.0
    """
    ridge = eps * torch.eye(first.shape[-1], dtype=torch.float64, device=first.device)
    first, second = first.double() + ridge, second.double() + ridge
    trace = (first + second).diagonal(dim1=-2, dim2=-1).sum(-1)
    return trace - 2 * _Fidelity.apply(first, second)


class _Fidelity(torch.autograd.Function):
    r"""``tr (B^1/2 A B^1/2)^1/2``; its gradients are half the optimal map and its inverse."""

    @staticmethod
    def forward(ctx: FunctionCtx, first: Tensor, second: Tensor) -> Tensor:
        root, inverse_root = _roots(second)
        value, vector = eigen_root(root @ first @ root)
        ctx.save_for_backward(root, inverse_root, value, vector)
        return value.sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        root, inverse_root, value, vector = ctx.saved_tensors
        half = grad[..., None, None] / 2
        grad_first = grad_second = None
        if ctx.needs_input_grad[0]:
            inner = (vector / nonzero(value)[..., None, :]) @ vector.mT
            grad_first = half * (root @ inner @ root)
        if ctx.needs_input_grad[1]:
            inner = (vector * value[..., None, :]) @ vector.mT
            grad_second = half * (inverse_root @ inner @ inverse_root)
        return grad_first, grad_second


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric square root and its inverse."""
    value, vector = eigen_root(matrix)
    root = (vector * value[..., None, :]) @ vector.mT
    inverse = (vector / nonzero(value)[..., None, :]) @ vector.mT
    return root, inverse


def cell_mean_and_covariance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean vector and covariance matrix of the pixels of each grid cell.

    Conventions, arguments and the count are those of
    :func:`~wkd_det.functional.cell_moments.cell_mean_and_variance`.

    Numerics:
        Covariances are made in float64: with fewer pixels than channels they are singular, and
        float32 rounding of the large eigenvalues would bury the ``eps`` on the zero ones.

    Returns:
        Mean ``(N, C, G * G)``, covariance ``(N, G * G, C, C)`` in float64, count
        ``(N, 1, G * G)`` or ``(1, 1, G * G)``.
    """
    pixels, inside = cell_pixels(features, grid=grid, mask=mask)
    pixels = pixels.double()
    count = inside.sum(dim=3, keepdim=True)
    mean = pixels.sum(dim=3, keepdim=True) / count.clamp(min=1)
    centred = (pixels - mean).masked_fill(~inside, 0)
    divisor = (count - 1 if unbiased else count).clamp(min=1)
    covariance = centred @ centred.mT / divisor
    mean, count = mean[..., 0].transpose(1, 2), count[..., 0].transpose(1, 2)
    return mean.to(features), covariance, count.to(features)
