"""Divergences of distributions: KL between classes or in one dimension, Bures, Gram distance.

The Kullback-Leibler divergences in one dimension work element by element. The distribution that the
mean is taken over comes first: in distillation the teacher's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import matrix_product


def categorical_kl(first: Tensor, second: Tensor) -> Tensor:
    r"""KL divergence of distributions over classes.

    .. math:: \sum_k p_k (\log p_k - \log q_k)

    Args:
        first: :math:`\log p`, shape ``(..., C)``, finite.
        second: :math:`\log q`, same shape.

    Returns:
        Shape ``(...)``.

    >>> import torch
    >>> categorical_kl(torch.tensor([0.25, 0.75]).log(), torch.tensor([0.5, 0.5]).log())
    tensor(0.1308)
    """
    return (first.exp() * (first - second)).sum(dim=-1)


def categorical_cross_entropy(first: Tensor, second: Tensor) -> Tensor:
    r"""Cross entropy of distributions over classes: the divergence plus the entropy of the first.

    .. math:: -\sum_k p_k \log q_k

    Args:
        first: :math:`p` itself, shape ``(..., C)``.
        second: :math:`\log q`, same shape.

    Returns:
        Shape ``(...)``.

    >>> import torch
    >>> categorical_cross_entropy(torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5]).log())
    tensor(0.6931)
    """
    return -(first * second).sum(dim=-1)


def gaussian_kl(
    first_mean: Tensor, first_variance: Tensor, second_mean: Tensor, second_variance: Tensor
) -> Tensor:
    r"""KL divergence of Gaussians with means :math:`\mu` and variances :math:`v`.

    .. math:: \tfrac12 (\log \frac{v_2}{v_1} + \frac{v_1 + (\mu_1 - \mu_2)^2}{v_2} - 1)

    >>> import torch
    >>> one, two = torch.tensor(1.0), torch.tensor(2.0)
    >>> gaussian_kl(one, one, two, one)  # (1 - 2)^2 / 2
    tensor(0.5000)
    """
    ratio = (first_variance + (first_mean - second_mean).square()) / second_variance
    return (second_variance.log() - first_variance.log() + ratio - 1) / 2


def laplace_kl(
    first_mean: Tensor, first_scale: Tensor, second_mean: Tensor, second_scale: Tensor
) -> Tensor:
    r"""KL divergence of Laplace distributions of location :math:`\mu` and scale :math:`b`.

    .. math::
        \log \frac{b_2}{b_1} + \frac{|\mu_1 - \mu_2|}{b_2}
        + \frac{b_1}{b_2} e^{-|\mu_1 - \mu_2| / b_1} - 1

    >>> import torch
    >>> zero, one = torch.tensor(0.0), torch.tensor(1.0)
    >>> laplace_kl(zero, one, zero, 2 * one).round(decimals=4)  # log 2 + 1/2 - 1
    tensor(0.1931)
    """
    distance = (first_mean - second_mean).abs()
    overlap = first_scale / second_scale * (-distance / first_scale).exp()
    return second_scale.log() - first_scale.log() + distance / second_scale + overlap - 1


def exponential_kl(first_rate: Tensor, second_rate: Tensor) -> Tensor:
    r"""KL divergence of exponential distributions of rate :math:`b`.

    .. math:: \log \frac{b_1}{b_2} + \frac{b_2}{b_1} - 1

    >>> import torch
    >>> exponential_kl(torch.tensor(1.0), torch.tensor(2.0)).round(decimals=4)  # 2 - 1 - log 2
    tensor(0.3069)
    """
    return first_rate.log() - second_rate.log() + second_rate / first_rate - 1


def matrix_root(matrix: Tensor) -> Tensor:
    r"""Symmetric square root of symmetric positive semi-definite matrices.

    Numerics:
        The gradient solves :math:`X \dot X + \dot X X = \dot P` in the basis of eigenvectors:
        it divides by sums of roots, not by differences of eigenvalues, so equal eigenvalues are
        harmless; at a singular matrix it is finite, though the true one is not.

    Args:
        matrix: Shape ``(..., C, C)``; best in float64, since a root halves the digits.

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
        value, vector = _eigen_root(matrix)
        ctx.save_for_backward(value, vector)
        return (vector * value[..., None, :]) @ vector.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        value, vector = ctx.saved_tensors
        value = _nonzero(value)
        rotated = vector.mT @ ((grad + grad.mT) / 2) @ vector
        return vector @ (rotated / (value[..., :, None] + value[..., None, :])) @ vector.mT


def _eigen_root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return roots of the eigenvalues, ``(..., C)``, and the eigenvectors, ``(..., C, C)``."""
    value, vector = torch.linalg.eigh(matrix)
    return value.clamp(min=0).sqrt(), vector


def _nonzero(value: Tensor) -> Tensor:
    """Raise small values to the rounding of the largest one, so that divisions stay finite."""
    return torch.maximum(value, value.amax(-1, keepdim=True) * 1e-12 + 1e-150)


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
        value, vector = _eigen_root(root @ first @ root)
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
    value, vector = _eigen_root(matrix)
    root = (vector * value[..., None, :]) @ vector.mT
    inverse = (vector / _nonzero(value)[..., None, :]) @ vector.mT
    return root, inverse


def squared_gram_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared Frobenius norm of the difference of two Gram matrices.

    .. math:: \lVert S S^T - T T^T \rVert_F^2

    With :math:`D = S - T` the difference is :math:`D S^T + T D^T`. It is built where ``d <= n``;
    otherwise its norm is taken from ``n x n`` products alone,
    :math:`\langle D^T D, S^T S + T^T T \rangle + 2 \langle D^T T, S^T D \rangle`.

    Numerics:
        Both forms are of second order in :math:`D`: nothing cancels as the student becomes the
        teacher, value and gradient vanish exactly.

    Args:
        student: Columns in ``d`` dimensions, shape ``(..., d, n)``.
        teacher: Same shape.

    Returns:
        Shape ``(...)``.

    >>> import torch
    >>> rows = torch.tensor([[1.0, 2.0]])
    >>> squared_gram_distance(rows, 2 * rows)  # (5 - 20)^2
    tensor(225.)
    """
    change = student - teacher
    dimensions, columns = student.shape[-2:]
    if dimensions <= columns:
        half = matrix_product(change, student.mT)
        return (half + matrix_product(teacher, change.mT)).square().sum(dim=(-2, -1))
    grams = matrix_product(student.mT, student) + matrix_product(teacher.mT, teacher)
    own = matrix_product(change.mT, change) * grams
    crossed = matrix_product(change.mT, teacher) * matrix_product(student.mT, change)
    return (own + 2 * crossed).sum(dim=(-2, -1))
