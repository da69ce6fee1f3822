"""WKD-F and its family as a configurable module."""

from __future__ import annotations

from functools import partial

from mmdet.registry import MODELS

from wkd_det.functional import check_feature_options, feature_distribution_loss
from wkd_det.losses.feature_loss import FeatureLoss


@MODELS.register_module()
class WKDFeatureLoss(FeatureLoss):
    """Distance between distributions of features; by default WKD-F.

    WKD-F is the squared 2-Wasserstein distance between diagonal Gaussians. The other members are
    those it was compared with in the paper; an option left at None has the default of the
    function, one that means nothing to the pair is an error.

    Args:
        grid: Cells along each axis; one distribution a cell.
        distribution: ``'diag'`` or ``'full'`` Gaussian, ``'laplace'``, ``'exponential'``,
            ``'pmf'``, ``'channel_mean'``, ``'channel_gram'``, ``'spatial_mean'`` or
            ``'spatial_gram'``.
        distance: ``'w2'``, ``'kl'``, ``'symmetric_kl'``, ``'g2denet'`` or ``'frobenius'``;
            :data:`wkd_det.functional.FEATURE_DISTANCES` lists the defined pairs.
        mean_cov_ratio: gamma, the weight of the means against the covariances; 1.
        eps: Added to every variance; 1e-5.
        unbiased: Divide second moments by ``m - 1`` instead of ``m``; True.
        epsilon: Entropic regularisation of the transport of ``'pmf'``; 0.05.
        num_iters: Its Sinkhorn rounds; 10.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a number is outside its range or the pair is not defined.

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
        given = {name: value for name, value in options.items() if value is not None}
        function = partial(
            feature_distribution_loss,
            distribution=distribution,
            distance=distance,
            grid=grid,
            **check_feature_options(distribution, distance, grid, **given),
        )
        super().__init__(function, loss_weight)
