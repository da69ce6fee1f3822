"""Distances between distributions of features, one value for each grid cell.

Every function takes the student's and the teacher's maps ``(N, C, H, W)``, at least float32, and
as ``cells`` the keywords ``grid`` and ``mask`` of
:func:`~wkd_det.ops.cells.cell_mean_and_variance`. It returns the distance per cell, ``(N, G * G)``,
and the number of pixels, ``(N, G * G)`` or ``(1, G * G)``. Cells without a pixel have finite values
without a meaning. The options are described and checked in
:func:`~wkd_det.losses.wkd_feature.check_feature_options`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.ops.cells import cell_mean_and_covariance, cell_mean_and_variance, cell_pixels
from wkd_det.ops.cosine import cosine_cost
from wkd_det.ops.divergences import (
    bures_squared,
    exponential_kl,
    gaussian_kl,
    laplace_kl,
    matrix_root,
    squared_gram_distance,
)
from wkd_det.ops.transport import sinkhorn_cost


def diagonal_w2(
    student: Tensor,
    teacher: Tensor,
    *,
    mean_cov_ratio: float,
    eps: float,
    unbiased: bool,
    **cells: Any,
) -> tuple[Tensor, Tensor]:
    r"""Squared 2-Wasserstein distance of diagonal Gaussians, means weighted: WKD-F.

    .. math:: \gamma \lVert \mu_T - \mu_S \rVert^2 + \lVert \sigma_T - \sigma_S \rVert^2
    """
    student_mean, student_variance, count = cell_mean_and_variance(
        student, unbiased=unbiased, **cells
    )
    teacher_mean, teacher_variance, _ = cell_mean_and_variance(teacher, unbiased=unbiased, **cells)
    deviation = (student_variance + eps).sqrt() - (teacher_variance + eps).sqrt()
    means = (student_mean - teacher_mean).square().sum(dim=1)
    return mean_cov_ratio * means + deviation.square().sum(dim=1), count[:, 0]


def full_w2(
    student: Tensor,
    teacher: Tensor,
    *,
    mean_cov_ratio: float,
    eps: float,
    unbiased: bool,
    **cells: Any,
) -> tuple[Tensor, Tensor]:
    r"""Squared 2-Wasserstein distance of Gaussians with full covariances, means weighted.

    :math:`\gamma \lVert \mu_T - \mu_S \rVert^2` plus the squared Bures distance.
    """
    student_mean, student_cov, count = cell_mean_and_covariance(student, unbiased=unbiased, **cells)
    teacher_mean, teacher_cov, _ = cell_mean_and_covariance(teacher, unbiased=unbiased, **cells)
    means = (student_mean - teacher_mean).square().sum(dim=1)
    bures = bures_squared(student_cov, teacher_cov, eps=eps)
    return mean_cov_ratio * means + bures.to(means), count[:, 0]


def diagonal_kl(
    student: Tensor, teacher: Tensor, *, eps: float, unbiased: bool, **cells: Any
) -> tuple[Tensor, Tensor]:
    r"""KL divergence :math:`KL(T \Vert S)` of diagonal Gaussians."""
    first, second, count = _means_and_variances(student, teacher, eps, unbiased, cells)
    return gaussian_kl(*first, *second).sum(dim=1), count


def diagonal_symmetric_kl(
    student: Tensor, teacher: Tensor, *, eps: float, unbiased: bool, **cells: Any
) -> tuple[Tensor, Tensor]:
    r"""Symmetric divergence :math:`KL(T \Vert S) + KL(S \Vert T)` of diagonal Gaussians."""
    first, second, count = _means_and_variances(student, teacher, eps, unbiased, cells)
    both = gaussian_kl(*first, *second) + gaussian_kl(*second, *first)
    return both.sum(dim=1), count


def laplace_cells_kl(
    student: Tensor, teacher: Tensor, *, eps: float, unbiased: bool, **cells: Any
) -> tuple[Tensor, Tensor]:
    r"""KL divergence :math:`KL(T \Vert S)` of Laplace distributions with the moments of the cell.

    A distribution of scale :math:`b` has the variance :math:`2 b^2`.
    """
    (teacher_mean, teacher_variance), (student_mean, student_variance), count = (
        _means_and_variances(student, teacher, eps, unbiased, cells)
    )
    scales = (teacher_variance / 2).sqrt(), (student_variance / 2).sqrt()
    return laplace_kl(teacher_mean, scales[0], student_mean, scales[1]).sum(dim=1), count


def exponential_cells_kl(
    student: Tensor, teacher: Tensor, *, eps: float, **cells: Any
) -> tuple[Tensor, Tensor]:
    r"""KL divergence :math:`KL(T \Vert S)` of exponential distributions of the features' sizes.

    The rate is ``1 / (mean |x| + eps)``. For features after a ReLU that is their mean; for
    others, which no exponential distribution describes, the sign is left out.
    """
    student_mean, _, count = cell_mean_and_variance(student.abs(), **cells)
    teacher_mean, _, _ = cell_mean_and_variance(teacher.abs(), **cells)
    divergence = exponential_kl(1 / (teacher_mean + eps), 1 / (student_mean + eps))
    return divergence.sum(dim=1), count[:, 0]


def full_g2denet(
    student: Tensor, teacher: Tensor, *, eps: float, unbiased: bool, **cells: Any
) -> tuple[Tensor, Tensor]:
    r"""Squared Frobenius distance of the square roots of embedded Gaussians.

    A Gaussian is embedded as
    :math:`\begin{pmatrix} \Sigma + \mu \mu^T & \mu \\ \mu^T & 1 \end{pmatrix}`.

    References: Wang, Li, Zhang, G2DeNet: Global Gaussian Distribution Embedding Network,
        CVPR 2017.
    """
    roots = []
    for features in (student, teacher):
        mean, covariance, count = cell_mean_and_covariance(features, unbiased=unbiased, **cells)
        mean = F.pad(mean.double().transpose(1, 2), (0, 1), value=1.0)  # (mu, 1)
        ridge = eps * torch.eye(features.shape[1], dtype=mean.dtype, device=mean.device)
        embedded = F.pad(covariance + ridge, (0, 1, 0, 1))
        roots.append(matrix_root(embedded + mean[..., :, None] * mean[..., None, :]))
    distance = (roots[0] - roots[1]).square().sum(dim=(-2, -1))
    return distance.to(student), count[:, 0]


def channel_means(student: Tensor, teacher: Tensor, **cells: Any) -> tuple[Tensor, Tensor]:
    r"""Squared distance :math:`\lVert \mu_T - \mu_S \rVert^2` of the means over the pixels."""
    student_mean, _, count = cell_mean_and_variance(student, **cells)
    teacher_mean, _, _ = cell_mean_and_variance(teacher, **cells)
    return (student_mean - teacher_mean).square().sum(dim=1), count[:, 0]


def spatial_means(student: Tensor, teacher: Tensor, **cells: Any) -> tuple[Tensor, Tensor]:
    """Squared distance of the means over the channels, one number per pixel."""
    pixels, inside = cell_pixels(student, **cells)
    target, _ = cell_pixels(teacher, **cells)
    return (pixels - target).mean(dim=2).square().sum(dim=2), _count(inside, pixels)


def channel_grams(student: Tensor, teacher: Tensor, **cells: Any) -> tuple[Tensor, Tensor]:
    r"""Squared distance of the second moments over the pixels.

    A moment is :math:`\frac1m \sum_x f_x f_x^T`, ``(C, C)``.
    """
    pixels, inside = cell_pixels(student, **cells)
    target, _ = cell_pixels(teacher, **cells)
    count = _count(inside, pixels)
    return squared_gram_distance(pixels, target) / count.clamp(min=1).square(), count


def spatial_grams(student: Tensor, teacher: Tensor, **cells: Any) -> tuple[Tensor, Tensor]:
    r"""Squared distance of the second moments over the channels.

    A moment is :math:`\frac1C \sum_c f_c f_c^T`, ``(m, m)``.
    """
    pixels, inside = cell_pixels(student, **cells)
    target, _ = cell_pixels(teacher, **cells)
    distance = squared_gram_distance(pixels.mT, target.mT) / student.shape[1] ** 2
    return distance, _count(inside, pixels)


def pixel_transport(
    student: Tensor, teacher: Tensor, *, epsilon: float, num_iters: int, **cells: Any
) -> tuple[Tensor, Tensor]:
    """Transport cost between the sets of feature vectors of a cell, all pixels of equal mass.

    The cost of two pixels is 1 - cosine. It runs in the log domain: costs reach 2, far above
    ``epsilon``.
    """
    pixels, inside = cell_pixels(student, **cells)
    target, _ = cell_pixels(teacher, **cells)
    cost = cosine_cost(pixels, target)
    count = _count(inside, pixels)
    # A cell without pixels gets mass everywhere, to keep its numbers finite.
    mass = (inside[:, :, 0] | (count == 0)[..., None]).to(pixels)
    mass = (mass / mass.sum(dim=2, keepdim=True)).expand(*pixels.shape[:2], -1).flatten(0, 1)
    transport = sinkhorn_cost(
        mass,
        mass,
        cost.flatten(0, 1),
        epsilon=epsilon,
        num_iters=num_iters,
        log_domain=True,
        support=mass > 0,
    )
    return transport.view(pixels.shape[:2]), count


def _means_and_variances(
    student: Tensor, teacher: Tensor, eps: float, unbiased: bool, cells: dict[str, Any]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Return mean and variance of the teacher, those of the student, and the count."""
    mean, variance, count = cell_mean_and_variance(student, unbiased=unbiased, **cells)
    target_mean, target_variance, _ = cell_mean_and_variance(teacher, unbiased=unbiased, **cells)
    return (target_mean, target_variance + eps), (mean, variance + eps), count[:, 0]


def _count(inside: Tensor, like: Tensor) -> Tensor:
    return inside.sum(dim=(2, 3)).to(like)
