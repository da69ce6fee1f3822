"""WKD-F: squared 2-Wasserstein distance between Gaussians of features."""

from __future__ import annotations

import torch
from torch import Tensor

from wkd_det.functional.bures import bures_squared, cell_mean_and_covariance
from wkd_det.functional.cell_moments import cell_mean_and_variance
from wkd_det.functional.precision import promote, without_autocast
from wkd_det.functional.reduction import weighted_mean

COVARIANCES = ('diag', 'full')


def wkd_feature_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    grid: int = 1,
    mean_cov_ratio: float = 1.0,
    covariance: str = 'diag',
    eps: float = 1e-5,
    unbiased: bool = True,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Wasserstein distillation loss on feature maps.

    The pixels of each cell of a ``grid x grid`` partition are modelled by a Gaussian over the
    channels; the loss is

    .. math:: \gamma \, \lVert \mu_T - \mu_S \rVert^2 + D_{cov}

    averaged over cells and images, with :math:`D_{cov} = \lVert \sigma_T - \sigma_S \rVert^2`
    for diagonal Gaussians, :math:`\sigma = \sqrt{var + eps}`, and the squared Bures distance
    :math:`tr(\Sigma_T + \Sigma_S - 2 (\Sigma_T^{1/2} \Sigma_S \Sigma_T^{1/2})^{1/2})` with
    ``eps`` added to the diagonals for full ones.

    Convention:
        - Sum over channels, mean over the cells that hold a pixel, mean over images.
        - Cells are the bins of adaptive pooling; they overlap when ``grid`` does not divide the
          map. A cell of one pixel has variance 0.
        - The teacher gets no gradient.

    Numerics:
        Equal inputs give 0 and a gradient of 0, also with ``covariance='full'``, which works in
        float64 inside and costs ``O(C^3)`` per cell.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Same shape.
        grid: Cells along each axis, >= 1.
        mean_cov_ratio: :math:`\gamma`, >= 0.
        covariance: ``'diag'`` or ``'full'``.
        eps: Added to every variance, > 0.
        unbiased: Divide second moments by ``m - 1`` instead of ``m``.
        mask: Bool, shape ``(N, H, W)``: pixels that count; padding is left out this way.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        ValueError: If shapes disagree or a number is outside its range.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, section 3.2.

    Example:
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> wkd_feature_loss(student, student + 2, mean_cov_ratio=0.5)  # 0.5 * 3 channels * 2^2
        tensor(6.)
    """
    _check(student, teacher, grid, mean_cov_ratio, covariance, eps, mask)
    if student.shape[0] == 0:
        return promote(student)[0].sum() * 0.0
    moments = cell_mean_and_variance if covariance == 'diag' else cell_mean_and_covariance
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student_mean, student_second, count = moments(
            student, grid=grid, unbiased=unbiased, mask=mask
        )
        teacher_mean, teacher_second, _ = moments(teacher, grid=grid, unbiased=unbiased, mask=mask)
        mean_term = (student_mean - teacher_mean).square().sum(dim=1)
        if covariance == 'diag':
            deviation = (student_second + eps).sqrt() - (teacher_second + eps).sqrt()
            cov_term = deviation.square().sum(dim=1)
        else:
            cov_term = bures_squared(student_second, teacher_second, eps=eps).to(mean_term)
        filled = (count > 0).to(mean_term)[:, 0]
        per_cell = (mean_cov_ratio * mean_term + cov_term) * filled
        per_image = per_cell.sum(dim=1) / filled.sum(dim=1).clamp(min=1)
        return weighted_mean(per_image, weight, avg_factor)


def _check(
    student: Tensor,
    teacher: Tensor,
    grid: int,
    mean_cov_ratio: float,
    covariance: str,
    eps: float,
    mask: Tensor | None,
) -> None:
    if student.dim() != 4 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (N, C, H, W), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    if 0 in student.shape[1:]:
        raise ValueError(f'feature maps must not be empty, got {tuple(student.shape)}')
    if not isinstance(grid, int) or grid < 1:
        raise ValueError(f'grid must be an integer of at least 1, got {grid!r}')
    if not mean_cov_ratio >= 0:
        raise ValueError(f'mean_cov_ratio must not be negative, got {mean_cov_ratio}')
    if covariance not in COVARIANCES:
        raise ValueError(f'covariance must be one of {COVARIANCES}, got {covariance!r}')
    if not eps > 0:
        raise ValueError(f'eps must be positive, got {eps}')
    samples, _, height, width = student.shape
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (samples, height, width)):
        raise ValueError(
            f'mask must be bool and have the shape (N, H, W) = {(samples, height, width)}, '
            f'got {mask.dtype} and {tuple(mask.shape)}'
        )
