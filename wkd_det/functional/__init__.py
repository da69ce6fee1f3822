"""The mathematics of Wasserstein distillation: pure functions on tensors, torch only."""

from wkd_det.functional.bures import bures_squared
from wkd_det.functional.cell_moments import cell_mean_and_variance
from wkd_det.functional.class_matrix import check_cost, check_interrelation
from wkd_det.functional.feature_distribution import (
    FEATURE_DISTANCES,
    check_feature_options,
    feature_distribution_loss,
)
from wkd_det.functional.gaussian import COVARIANCES, wkd_feature_loss
from wkd_det.functional.interrelation import (
    cka,
    cosine_interrelation,
    gaussian_interrelation,
    interrelation_to_cost,
)
from wkd_det.functional.logits import wkd_logit_loss
from wkd_det.functional.transport import sinkhorn_cost

__all__ = [
    'COVARIANCES',
    'FEATURE_DISTANCES',
    'bures_squared',
    'cell_mean_and_variance',
    'check_cost',
    'check_feature_options',
    'check_interrelation',
    'cka',
    'cosine_interrelation',
    'feature_distribution_loss',
    'gaussian_interrelation',
    'interrelation_to_cost',
    'sinkhorn_cost',
    'wkd_feature_loss',
    'wkd_logit_loss',
]
