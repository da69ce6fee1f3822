"""WKD-F and its family: distances between distributions of features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from wkd_det.losses.base import MapLoss
from wkd_det.ops import cell_distances
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import (
    check_booleans,
    check_choice,
    check_integers,
    check_maps,
    check_nonnegative,
    check_positive,
    plain_number,
)
from wkd_det.ops.fused.switch import takes_fused

_GAUSSIAN = ('eps', 'unbiased')
_PAIRS: dict[tuple[str, str], tuple[Callable, tuple[str, ...]]] = {
    ('diag', 'w2'): (cell_distances.diagonal_w2, ('mean_cov_ratio', *_GAUSSIAN)),
    ('diag', 'kl'): (cell_distances.diagonal_kl, _GAUSSIAN),
    ('diag', 'symmetric_kl'): (cell_distances.diagonal_symmetric_kl, _GAUSSIAN),
    ('full', 'w2'): (cell_distances.full_w2, ('mean_cov_ratio', *_GAUSSIAN)),
    ('full', 'g2denet'): (cell_distances.full_g2denet, _GAUSSIAN),
    ('laplace', 'kl'): (cell_distances.laplace_cells_kl, _GAUSSIAN),
    ('exponential', 'kl'): (cell_distances.exponential_cells_kl, ('eps',)),
    ('pmf', 'w2'): (cell_distances.pixel_transport, ('epsilon', 'num_iters')),
    ('channel_mean', 'frobenius'): (cell_distances.channel_means, ()),
    ('channel_gram', 'frobenius'): (cell_distances.channel_grams, ()),
    ('spatial_mean', 'frobenius'): (cell_distances.spatial_means, ()),
    ('spatial_gram', 'frobenius'): (cell_distances.spatial_grams, ()),
}
_BY_CHANNEL = ('diag', 'laplace', 'exponential', 'channel_mean')
"""Distributions made of mean and variance of each channel, which may be read in half precision."""
_PIXEL_BY_PIXEL = ('pmf', 'channel_gram', 'spatial_mean', 'spatial_gram')
_DEFAULTS = dict(mean_cov_ratio=1.0, eps=1e-5, unbiased=True, epsilon=0.05, num_iters=10)

FEATURE_DISTANCES: tuple[tuple[str, str], ...] = tuple(_PAIRS)
"""Defined pairs of ``distribution`` and ``distance``."""
COVARIANCES = ('diag', 'full')
"""Forms of :func:`wkd_feature_loss`."""


def feature_distribution_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    distribution: str = 'diag',
    distance: str = 'w2',
    grid: int = 1,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    **options: Any,
) -> Tensor:
    r"""Distance between the distributions of two feature maps, cell by cell.

    The ``m`` pixels of each cell of a ``grid x grid`` partition, vectors over the ``C`` channels,
    are described by a distribution, whose distance to the teacher's is taken. WKD-F, the default,
    is the squared 2-Wasserstein distance of diagonal Gaussians:

    ============== ============== ==================================================================
    distribution   distance
    ============== ============== ==================================================================
    diag           w2             :math:`\gamma \lVert \mu_T - \mu_S \rVert^2 + \lVert \sigma_T -
                                  \sigma_S \rVert^2`: WKD-F
    diag           kl             :math:`KL(T \Vert S)` of Gaussians
    diag           symmetric_kl   :math:`KL(T \Vert S) + KL(S \Vert T)`
    full           w2             :math:`\gamma \lVert \mu_T - \mu_S \rVert^2` plus the squared
                                  Bures distance of the covariances
    full           g2denet        :math:`\lVert P_T^{1/2} - P_S^{1/2} \rVert_F^2` with :math:`P` =
                                  :math:`[[\Sigma + \mu \mu^T, \mu], [\mu^T, 1]]`
    laplace        kl             :math:`KL(T \Vert S)`; mean and variance are those of the cell
    exponential    kl             :math:`KL(T \Vert S)` of rates 1 / (mean of \|x\| + eps)
    pmf            w2             entropic transport between the two sets of pixels, 1 / m each,
                                  at the cost 1 - cosine, half the squared distance of unit vectors
    channel_mean   frobenius      first moment over the pixels, :math:`\mu`, ``C`` numbers
    channel_gram   frobenius      second moment :math:`\frac1m \sum_x f_x f_x^T`, ``C x C``
    spatial_mean   frobenius      mean over the channels, one number per pixel
    spatial_gram   frobenius      :math:`\frac1C \sum_c f_c f_c^T` of the channels, ``m x m``
    ============== ============== ==================================================================

    Convention:
        - Squared distances; sums over channels, and for moments over all entries; mean over the
          cells that hold a pixel, mean over images.
        - :math:`\sigma = \sqrt{var + eps}`; for full Gaussians ``eps`` is added to the diagonals.
        - Cells are the bins of adaptive pooling; they overlap when ``grid`` does not divide the
          map. A cell of one pixel has variance 0.
        - The teacher gets no gradient, and is the first argument of a divergence.

    Numerics:
        Equal inputs give 0 and a gradient of 0, except for ``pmf``, whose entropic plan always
        costs something. ``full`` works in float64 inside and costs ``O(C^3)`` per cell, ``pmf``
        ``O(m^2)``, moments ``O(min(m, C)^2)``.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type, computed in at least float32.
        teacher: Same shape. Where the cells are described by moments over their pixels and there
            is no mask, height and width may differ.
        distribution: With ``distance`` one of :data:`FEATURE_DISTANCES`.
        distance: With ``distribution`` one of them.
        grid: Cells along each axis, >= 1.
        mask: Bool, shape ``(N, H, W)``: pixels that count; padding is left out this way.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.
        **options: Options of :func:`check_feature_options` that the pair has:
            ``mean_cov_ratio`` for w2 of Gaussians, ``eps`` and ``unbiased`` for Gaussians and
            Laplace, ``eps`` for exponential, ``epsilon`` and ``num_iters`` for pmf.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, the pair is not defined or
            an option means nothing to it.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, section 3.2 and the ablation of distributions. It
        states neither how the scale of a Laplace distribution is found nor what an exponential
        one makes of negative features: those are choices of this implementation.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> feature_distribution_loss(  # the means differ by 2 in 3 channels
        ...     student, student + 2, distribution='channel_mean', distance='frobenius'
        ... )
        tensor(12.)
    """
    options = check_feature_options(distribution, distance, grid, **options)
    same_size = mask is not None or distribution in _PIXEL_BY_PIXEL
    check_maps(student, teacher, mask, same_size=same_size)
    if student.shape[0] == 0:
        return promote(student)[0].sum() * 0.0
    function, _ = _PAIRS[distribution, distance]
    with without_autocast(student):
        teacher = teacher.detach()
        as_they_are = mask is None and distribution in _BY_CHANNEL and takes_fused(student, teacher)
        if not as_they_are:
            student, teacher = promote(student, teacher)
        per_cell, count = function(student, teacher, grid=int(grid), mask=mask, **options)
        filled = (count > 0).to(per_cell)
        per_image = (per_cell * filled).sum(dim=1) / filled.sum(dim=1).clamp(min=1)
        return weighted_mean(per_image, weight, avg_factor)


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
    r"""Wasserstein distillation loss on feature maps (WKD-F).

    Short for :func:`feature_distribution_loss` with ``distribution=covariance`` and
    ``distance='w2'``; conventions are described there.

    Args:
        student: Shape ``(N, C, H, W)``.
        teacher: Same shape; without a mask, height and width may differ.
        grid: Cells along each axis, >= 1.
        mean_cov_ratio: :math:`\gamma`, >= 0, weight of the means against the covariances.
        covariance: ``'diag'`` or ``'full'``.
        eps: Added to every variance, > 0.
        unbiased: Divide second moments by ``m - 1`` instead of ``m``.
        mask: Pixels that count, bool, shape ``(N, H, W)``.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        ValueError: If ``covariance`` is neither form, or as :func:`feature_distribution_loss`.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 3, 4, 4)
        >>> wkd_feature_loss(student, student + 2, mean_cov_ratio=0.5)  # 0.5 * 3 channels * 2^2
        tensor(6.)
    """
    check_choice(COVARIANCES, covariance=covariance)
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


def check_feature_options(
    distribution: str, distance: str, grid: int, **options: Any
) -> dict[str, Any]:
    """Check the arguments other than tensors, and fill in defaults.

    Args:
        distribution: With ``distance`` one of :data:`FEATURE_DISTANCES`.
        distance: With ``distribution`` one of them.
        grid: Cells along each axis, an integer >= 1.
        **options: ``mean_cov_ratio`` >= 0, by default 1, weight of the means against the
            covariances; ``eps`` > 0, 1e-5, added to every variance or mean; ``unbiased``, True,
            divides second moments by ``m - 1`` instead of ``m``; ``epsilon`` > 0, 0.05, entropic
            regularisation in units of the cost; ``num_iters`` >= 1, 10, Sinkhorn rounds.

    Returns:
        All options of the pair.

    Raises:
        ValueError: If a number is outside its range, the pair is not defined or an option means
            nothing to it.
    """
    if (distribution, distance) not in FEATURE_DISTANCES:  # not in a dict: lists have no hash
        raise ValueError(_undefined(distribution, distance))
    known = _PAIRS[distribution, distance][1]
    for name in options:
        if name not in known:
            raise ValueError(
                f'{name} means nothing to distribution={distribution!r}, distance={distance!r}: '
                f'its options are {list(known)}'
            )
    options = dict({name: _DEFAULTS[name] for name in known}, **options)
    check_booleans(unbiased=options.get('unbiased', True))
    check_integers(grid=grid, num_iters=options.get('num_iters', 1))
    check_nonnegative(mean_cov_ratio=options.get('mean_cov_ratio', 0))
    check_positive(eps=options.get('eps', 1), epsilon=options.get('epsilon', 1))
    return options


def _undefined(distribution: str, distance: str) -> str:
    defined: dict[str, list[str]] = {}
    for name, other in _PAIRS:
        defined.setdefault(name, []).append(other)
    if distribution in [*defined]:
        return (
            f'distance must be one of {defined[distribution]} for distribution={distribution!r}, '
            f'got {distance!r}'
        )
    choices = ', '.join(f'{name} ({", ".join(others)})' for name, others in defined.items())
    return f'distribution must be one of {choices}; got {distribution!r}'


class WKDFeatureLoss(MapLoss):
    r"""Distance between distributions of features; by default WKD-F.

    WKD-F is the squared 2-Wasserstein distance between diagonal Gaussians. The paper compares it
    with the other members. An option left at None has the default of the function; one that means
    nothing to the pair is an error.

    Args:
        grid: Cells along each axis, >= 1; one distribution per cell.
        distribution: ``'diag'`` or ``'full'`` Gaussian, ``'laplace'``, ``'exponential'``,
            ``'pmf'``, ``'channel_mean'``, ``'channel_gram'``, ``'spatial_mean'`` or
            ``'spatial_gram'``.
        distance: ``'w2'``, ``'kl'``, ``'symmetric_kl'``, ``'g2denet'`` or ``'frobenius'``;
            :data:`wkd_det.functional.FEATURE_DISTANCES` lists the defined pairs.
        mean_cov_ratio: :math:`\gamma`, weight of the means against the covariances, >= 0; 1.
        eps: Added to every variance, > 0; 1e-5.
        unbiased: Divide second moments by ``m - 1`` instead of ``m``; True.
        epsilon: Entropic regularisation of the transport of ``'pmf'``, > 0; 0.05.
        num_iters: Sinkhorn rounds of ``'pmf'``, >= 1; 10.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range or the pair is not defined.

    See :func:`wkd_det.functional.feature_distribution_loss` for formulas, conventions and source.
    """

    def __init__(
        self,
        *,
        grid: int = 1,
        distribution: str = 'diag',
        distance: str = 'w2',
        mean_cov_ratio: float | None = None,
        eps: float | None = None,
        unbiased: bool | None = None,
        epsilon: float | None = None,
        num_iters: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        options = dict(
            mean_cov_ratio=mean_cov_ratio,
            eps=eps,
            unbiased=unbiased,
            epsilon=epsilon,
            num_iters=num_iters,
        )
        given = {name: plain_number(value) for name, value in options.items() if value is not None}
        function = partial(
            feature_distribution_loss,
            distribution=distribution,
            distance=distance,
            grid=plain_number(grid),
            **check_feature_options(distribution, distance, grid, **given),
        )
        super().__init__(function, loss_weight)
