"""The mathematics of Wasserstein distillation: pure functions on tensors, torch only."""

from wkd_det.functional.attended import attended_loss
from wkd_det.functional.bures import bures_squared
from wkd_det.functional.cell_moments import cell_mean_and_variance
from wkd_det.functional.class_gaussian import (
    SHRINKAGE_TARGETS,
    class_gaussian_distance,
    gaussian_interrelation,
    shrink_covariance,
)
from wkd_det.functional.class_matrix import check_cost, check_interrelation, check_symmetric
from wkd_det.functional.class_neighbors import grouping_agreement, nearest_classes
from wkd_det.functional.feature_distribution import (
    FEATURE_DISTANCES,
    check_feature_options,
    feature_distribution_loss,
)
from wkd_det.functional.fitnet import fitnet_loss
from wkd_det.functional.gaussian import COVARIANCES, wkd_feature_loss
from wkd_det.functional.gram_block import KERNELS
from wkd_det.functional.hierarchical_context import CONTEXT_GRIDS, hierarchical_context_loss
from wkd_det.functional.ickd import ickd_loss
from wkd_det.functional.imitation import imitation_loss
from wkd_det.functional.interrelation import cosine_interrelation, interrelation_to_cost
from wkd_det.functional.kernel_alignment import cka
from wkd_det.functional.logit_divergence import dkd_loss, kd_loss
from wkd_det.functional.logits import (
    transported_histograms,
    wkd_logit_loss,
    wkd_transport_plan,
)
from wkd_det.functional.nst import nst_loss
from wkd_det.functional.offsets import offset_loss, squared_offset_distance
from wkd_det.functional.pkd import pkd_loss
from wkd_det.functional.structure import (
    additive_effect,
    effective_rank,
    matrix_correlation,
    off_diagonal_spread,
    structure_report,
)
from wkd_det.functional.transport import sinkhorn_cost, sinkhorn_plan

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
    'wkd_feature_loss',
    'wkd_logit_loss',
    'wkd_transport_plan',
]
