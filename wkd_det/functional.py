"""Pure functions of Wasserstein distillation and of the methods it is compared with; torch only."""

from wkd_det.costs.alignment import KERNELS, cka
from wkd_det.costs.gaussians import (
    SHRINKAGE_TARGETS,
    class_gaussian_distance,
    gaussian_interrelation,
    shrink_covariance,
)
from wkd_det.costs.matrix import check_cost, check_interrelation, check_symmetric
from wkd_det.costs.similarity import (
    cosine_interrelation,
    distance_to_cost,
    interrelation_to_cost,
)
from wkd_det.costs.structure import (
    additive_effect,
    effective_rank,
    grouping_agreement,
    matrix_correlation,
    nearest_classes,
    off_diagonal_spread,
    structure_report,
)
from wkd_det.losses.boxes import offset_loss, squared_offset_distance
from wkd_det.losses.dpk import unbiased_cka
from wkd_det.losses.fgfi import imitation_loss
from wkd_det.losses.fitnet import fitnet_loss
from wkd_det.losses.icd import attended_loss
from wkd_det.losses.ickd import ickd_loss
from wkd_det.losses.kd import dkd_loss, kd_loss
from wkd_det.losses.nst import nst_loss
from wkd_det.losses.pkd import pkd_loss
from wkd_det.losses.reviewkd import CONTEXT_GRIDS, hierarchical_context_loss
from wkd_det.losses.wkd_feature import (
    COVARIANCES,
    FEATURE_DISTANCES,
    check_feature_options,
    feature_distribution_loss,
    wkd_feature_loss,
)
from wkd_det.losses.wkd_logit import transported_histograms, wkd_logit_loss, wkd_transport_plan
from wkd_det.ops.cells import cell_mean_and_variance
from wkd_det.ops.divergences import bures_squared
from wkd_det.ops.transport import sinkhorn_cost, sinkhorn_plan

__all__ = [
    'CONTEXT_GRIDS',
    'COVARIANCES',
    'FEATURE_DISTANCES',
    'KERNELS',
    'SHRINKAGE_TARGETS',
    'additive_effect',
    'attended_loss',
    'bures_squared',
    'cell_mean_and_variance',
    'check_cost',
    'check_feature_options',
    'check_interrelation',
    'check_symmetric',
    'cka',
    'class_gaussian_distance',
    'cosine_interrelation',
    'distance_to_cost',
    'dkd_loss',
    'effective_rank',
    'feature_distribution_loss',
    'fitnet_loss',
    'gaussian_interrelation',
    'grouping_agreement',
    'hierarchical_context_loss',
    'ickd_loss',
    'imitation_loss',
    'interrelation_to_cost',
    'kd_loss',
    'matrix_correlation',
    'nearest_classes',
    'nst_loss',
    'off_diagonal_spread',
    'offset_loss',
    'pkd_loss',
    'shrink_covariance',
    'sinkhorn_cost',
    'sinkhorn_plan',
    'squared_offset_distance',
    'structure_report',
    'transported_histograms',
    'unbiased_cka',
    'wkd_feature_loss',
    'wkd_logit_loss',
    'wkd_transport_plan',
]
