"""WKD-F as a configurable module."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import COVARIANCES, wkd_feature_loss


@MODELS.register_module()
class WKDFeatureLoss(nn.Module):
    """Squared 2-Wasserstein distance between Gaussians of features (WKD-F).

    Args:
        grid: Cells along each axis; one Gaussian a cell.
        mean_cov_ratio: gamma, the weight of the means against the covariances.
        covariance: ``'diag'`` or ``'full'``.
        eps: Added to every variance.
        unbiased: Divide second moments by ``m - 1`` instead of ``m``.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.wkd_feature_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'

    def __init__(
        self,
        *,
        grid: int = 1,
        mean_cov_ratio: float = 1.0,
        covariance: str = 'diag',
        eps: float = 1e-5,
        unbiased: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(grid, int) or grid < 1:
            raise ValueError(f'grid must be an integer of at least 1, got {grid!r}')
        for name, value in dict(mean_cov_ratio=mean_cov_ratio, loss_weight=loss_weight).items():
            if not value >= 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        if covariance not in COVARIANCES:
            raise ValueError(f'covariance must be one of {COVARIANCES}, got {covariance!r}')
        if not eps > 0:
            raise ValueError(f'eps must be positive, got {eps}')
        self.grid = grid
        self.mean_cov_ratio = mean_cov_ratio
        self.covariance = covariance
        self.eps = eps
        self.unbiased = unbiased
        self.loss_weight = loss_weight

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)`` leaves out."""
        return self.loss_weight * wkd_feature_loss(
            student,
            teacher,
            grid=self.grid,
            mean_cov_ratio=self.mean_cov_ratio,
            covariance=self.covariance,
            eps=self.eps,
            unbiased=self.unbiased,
            mask=mask,
            weight=weight,
            avg_factor=avg_factor,
        )
