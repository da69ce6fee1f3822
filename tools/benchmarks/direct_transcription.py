"""The formulas of the paper taken literally, for comparison with ``wkd_det.functional``.

WKD-L drops the target class of each sample and builds a cost, a kernel and a plan of
``(C - 1) x (C - 1)`` for every sample; WKD-F visits the cells of the grid one by one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GUARD = 1e-8


def direct_logit_loss(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    target: Tensor,
    *,
    temperature: float = 1.0,
    transport_weight: float = 1.0,
    epsilon: float = 0.05,
    num_iters: int = 10,
) -> Tensor:
    """Return WKD-L in its separated form, computed with one cost matrix per sample.

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        cost: Class costs, shape ``(C, C)``.
        target: Class indices, shape ``(N,)``.
        temperature: Softmax temperature of the transported distributions.
        transport_weight: Weight of the transport relative to the target term.
        epsilon: Entropic regularisation.
        num_iters: Number of Sinkhorn rounds.

    Returns:
        Scalar, the mean over samples.
    """
    kept = _other_classes(target, student.shape[1])
    others = cost[kept[:, :, None], kept[:, None, :]]
    distance = _batched_sinkhorn_cost(
        (student.gather(1, kept) / temperature).softmax(1),
        (teacher.gather(1, kept) / temperature).softmax(1).detach(),
        others,
        epsilon,
        num_iters,
    )
    index = target[:, None]
    teacher_probability = teacher.softmax(1).gather(1, index).detach()
    target_loss = -(teacher_probability * student.log_softmax(1).gather(1, index))[:, 0]
    return (target_loss + transport_weight * distance).mean()


def direct_feature_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    grid: int,
    mean_cov_ratio: float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    """Return WKD-F with diagonal Gaussians, computed cell by cell.

    Args:
        student: Shape ``(N, C, H, W)``; cells hold more than one pixel.
        teacher: Same shape.
        grid: Number of cells along each axis.
        mean_cov_ratio: Weight of the means relative to the deviations.
        eps: Added to every variance.

    Returns:
        Scalar: sum over channels, mean over images and cells.
    """
    height, width = student.shape[-2:]
    total = 0.0
    for rows in _bins(height, grid):
        for columns in _bins(width, grid):
            student_mean, student_deviation = _gaussian(student[:, :, rows, columns], eps)
            teacher_mean, teacher_deviation = _gaussian(teacher[:, :, rows, columns], eps)
            means = (student_mean - teacher_mean).square().sum(1).mean()
            deviations = (student_deviation - teacher_deviation).square().sum(1).mean()
            total = total + mean_cov_ratio * means + deviations
    return total / grid**2


def _other_classes(target: Tensor, classes: int) -> Tensor:
    """Return the indices of the classes that are not the target, shape ``(N, C - 1)``."""
    index = torch.arange(classes - 1, device=target.device)
    return index + (index >= target[:, None])


def _batched_sinkhorn_cost(
    source: Tensor, target: Tensor, cost: Tensor, epsilon: float, num_iters: int
) -> Tensor:
    """Return Sinkhorn costs of ``(N, C)`` marginals and ``(N, C, C)`` costs, shape ``(N,)``."""
    kernel = torch.exp(-cost / epsilon)
    row = torch.full_like(source, 1 / source.shape[1])[:, :, None]
    for _ in range(num_iters):
        column = target[:, :, None] / (torch.bmm(kernel.mT, row) + _GUARD)
        row = source[:, :, None] / (torch.bmm(kernel, column) + _GUARD)
    plan = row * kernel * column.mT
    return (plan * cost).sum((1, 2))


def _bins(length: int, grid: int) -> list[slice]:
    return [
        slice(index * length // grid, math.ceil((index + 1) * length / grid))
        for index in range(grid)
    ]


def _gaussian(cell: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return cell.mean((2, 3)), (cell.var((2, 3)) + eps).sqrt()
