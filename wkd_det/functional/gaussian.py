"""WKD-F: squared 2-Wasserstein distance between Gaussians of features."""

from __future__ import annotations

from torch import Tensor

from wkd_det.functional.feature_distribution import feature_distribution_loss

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

    Its rivals are in :func:`~wkd_det.functional.feature_distribution.feature_distribution_loss`.
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
        teacher: Same shape; without a mask, height and width may be others.
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
        >>> import torch
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> wkd_feature_loss(student, student + 2, mean_cov_ratio=0.5)  # 0.5 * 3 channels * 2^2
        tensor(6.)
    """
    if covariance not in COVARIANCES:
        raise ValueError(f'covariance must be one of {COVARIANCES}, got {covariance!r}')
    return feature_distribution_loss(
        student,
        teacher,
        distribution=covariance,
        distance='w2',
        grid=grid,
        mean_cov_ratio=mean_cov_ratio,
        eps=eps,
        unbiased=unbiased,
        mask=mask,
        weight=weight,
        avg_factor=avg_factor,
    )
