"""Distance between Gram matrices that never have to be large."""

from __future__ import annotations

from torch import Tensor


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
        return (change @ student.mT + teacher @ change.mT).square().sum(dim=(-2, -1))
    own = (change.mT @ change) * (student.mT @ student + teacher.mT @ teacher)
    crossed = (change.mT @ teacher) * (student.mT @ change)
    return (own + 2 * crossed).sum(dim=(-2, -1))
