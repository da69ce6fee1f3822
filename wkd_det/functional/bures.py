"""Bures distance between covariance matrices, and those matrices per grid cell."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.functional.cell_moments import cell_membership


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
        value, vector = torch.linalg.eigh(root @ first @ root)
        value = value.clamp(min=0).sqrt()
        ctx.save_for_backward(root, inverse_root, value, vector)
        return value.sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        root, inverse_root, value, vector = ctx.saved_tensors
        half = grad[..., None, None] / 2
        grad_first = grad_second = None
        if ctx.needs_input_grad[0]:
            inner = (vector / _nonzero(value)[..., None, :]) @ vector.mT
            grad_first = half * (root @ inner @ root)
        if ctx.needs_input_grad[1]:
            inner = (vector * value[..., None, :]) @ vector.mT
            grad_second = half * (inverse_root @ inner @ inverse_root)
        return grad_first, grad_second


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric square root and its inverse."""
    value, vector = torch.linalg.eigh(matrix)
    value = value.clamp(min=0).sqrt()
    root = (vector * value[..., None, :]) @ vector.mT
    inverse = (vector / _nonzero(value)[..., None, :]) @ vector.mT
    return root, inverse


def _nonzero(value: Tensor) -> Tensor:
    """Keep divisions finite: no value below the rounding of the largest one."""
    return torch.maximum(value, value.amax(-1, keepdim=True) * 1e-12 + 1e-150)


def cell_mean_and_covariance(
    features: Tensor, *, grid: int = 1, unbiased: bool = True, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean vector and covariance matrix of the pixels of each grid cell.

    Conventions, arguments and the count are those of
    :func:`~wkd_det.functional.cell_moments.cell_mean_and_variance`. The cells are walked one by
    one: each holds ``C x C`` numbers, so the work inside outweighs the loop.

    Numerics:
        Covariances are made in float64: with fewer pixels than channels they are singular, and
        float32 rounding of the large eigenvalues would bury the ``eps`` on the zero ones.

    Returns:
        Mean ``(N, C, G * G)``, covariance ``(N, G * G, C, C)`` in float64, count
        ``(N, 1, G * G)`` or ``(1, 1, G * G)``.
    """
    samples, _, height, width = features.shape
    rows = cell_membership(height, grid, features.device)
    columns = cell_membership(width, grid, features.device)
    if mask is None:
        mask = features.new_ones(1, height, width, dtype=torch.bool)
    means, covariances, counts = [], [], []
    for row in rows.unbind(1):
        for column in columns.unbind(1):
            inside = mask[:, row][:, :, column].flatten(1)[:, None]
            pixels = features[:, :, row][..., column].flatten(2).masked_fill(~inside, 0).double()
            count = inside.sum(dim=2, keepdim=True)
            mean = pixels.sum(dim=2, keepdim=True) / count.clamp(min=1)
            centred = (pixels - mean).masked_fill(~inside, 0)
            divisor = (count - 1 if unbiased else count).clamp(min=1)
            means.append(mean.to(features))
            covariances.append(centred @ centred.mT / divisor)
            counts.append(count.to(features))
    return torch.cat(means, 2), torch.stack(covariances, 1), torch.cat(counts, 2)
