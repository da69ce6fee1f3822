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
from wkd_det.losses.ab import ab_loss
from wkd_det.losses.at import at_loss
from wkd_det.losses.banks import bank_bytes
from wkd_det.losses.box_giou import box_giou_loss
from wkd_det.losses.box_wasserstein import box_wasserstein_loss
from wkd_det.losses.boxes import offset_loss, squared_offset_distance
from wkd_det.losses.cat_kd import cat_loss
from wkd_det.losses.cc import cc_loss
from wkd_det.losses.crd import contrast_constant, crd_loss
from wkd_det.losses.dist import dist_loss
from wkd_det.losses.dpk import unbiased_cka
from wkd_det.losses.fgfi import imitation_loss
from wkd_det.losses.fitnet import fitnet_loss
from wkd_det.losses.fsp import fsp_loss
from wkd_det.losses.ft import ft_loss
from wkd_det.losses.icd import attended_loss
from wkd_det.losses.ickd import ickd_loss
from wkd_det.losses.ipot import ipot_loss
from wkd_det.losses.kd import dkd_loss, kd_loss
from wkd_det.losses.ld import ld_loss
from wkd_det.losses.mgd import mgd_loss
from wkd_det.losses.mlkd import mlkd_batch_loss, mlkd_class_loss, mlkd_loss
from wkd_det.losses.nkd import nkd_loss
from wkd_det.losses.nst import nst_loss
from wkd_det.losses.ofa import ofa_loss
from wkd_det.losses.ofd import ofd_loss, ofd_margin
from wkd_det.losses.pkd import pkd_loss
from wkd_det.losses.pkt import pkt_loss
from wkd_det.losses.query_boxes import query_box_loss
from wkd_det.losses.reviewkd import CONTEXT_GRIDS, hierarchical_context_loss
from wkd_det.losses.rkd import rkd_loss
from wkd_det.losses.sigmoid_kd import quality_focal_kd_loss, sigmoid_kd_loss
from wkd_det.losses.sp import sp_loss
from wkd_det.losses.srrl import srrl_loss
from wkd_det.losses.tfkd import label_smoothing_loss, tfkd_loss, tfkd_self_loss
from wkd_det.losses.ttm import ttm_loss, wttm_loss
from wkd_det.losses.uskd import uskd_loss
from wkd_det.losses.vid import vid_loss
from wkd_det.losses.wcord import gckt_loss, lckt_loss
from wkd_det.losses.wkd_feature import (
    COVARIANCES,
    FEATURE_DISTANCES,
    check_feature_options,
    feature_distribution_loss,
    wkd_feature_loss,
)
from wkd_det.losses.wkd_logit import transported_histograms, wkd_logit_loss, wkd_transport_plan
from wkd_det.losses.wkd_sigmoid import wkd_sigmoid_loss
from wkd_det.losses.wsld import wsld_loss
from wkd_det.losses.zipf import zipf_distribution, zipf_loss
from wkd_det.ops.cells import cell_mean_and_variance
from wkd_det.ops.divergences import bures_squared
from wkd_det.ops.line_transport import line_transport
from wkd_det.ops.logits import standardize_logits
from wkd_det.ops.proximal import ipot_plan
from wkd_det.ops.transport import sinkhorn_cost, sinkhorn_divergence, sinkhorn_plan

__all__ = [
    'CONTEXT_GRIDS',
    'COVARIANCES',
    'FEATURE_DISTANCES',
    'KERNELS',
    'SHRINKAGE_TARGETS',
    'ab_loss',
    'additive_effect',
    'at_loss',
    'attended_loss',
    'bank_bytes',
    'box_giou_loss',
    'box_wasserstein_loss',
    'bures_squared',
    'cat_loss',
    'cc_loss',
    'cell_mean_and_variance',
    'check_cost',
    'check_feature_options',
    'check_interrelation',
    'check_symmetric',
    'cka',
    'class_gaussian_distance',
    'contrast_constant',
    'cosine_interrelation',
    'crd_loss',
    'dist_loss',
    'distance_to_cost',
    'dkd_loss',
    'effective_rank',
    'feature_distribution_loss',
    'fitnet_loss',
    'fsp_loss',
    'ft_loss',
    'gaussian_interrelation',
    'gckt_loss',
    'grouping_agreement',
    'hierarchical_context_loss',
    'ickd_loss',
    'imitation_loss',
    'interrelation_to_cost',
    'ipot_loss',
    'ipot_plan',
    'kd_loss',
    'label_smoothing_loss',
    'lckt_loss',
    'ld_loss',
    'line_transport',
    'matrix_correlation',
    'mgd_loss',
    'mlkd_batch_loss',
    'mlkd_class_loss',
    'mlkd_loss',
    'nearest_classes',
    'nkd_loss',
    'nst_loss',
    'ofa_loss',
    'ofd_loss',
    'ofd_margin',
    'off_diagonal_spread',
    'offset_loss',
    'pkd_loss',
    'pkt_loss',
    'quality_focal_kd_loss',
    'query_box_loss',
    'rkd_loss',
    'shrink_covariance',
    'sigmoid_kd_loss',
    'sinkhorn_cost',
    'sinkhorn_divergence',
    'sinkhorn_plan',
    'sp_loss',
    'squared_offset_distance',
    'srrl_loss',
    'standardize_logits',
    'structure_report',
    'tfkd_loss',
    'tfkd_self_loss',
    'transported_histograms',
    'ttm_loss',
    'unbiased_cka',
    'uskd_loss',
    'vid_loss',
    'wkd_feature_loss',
    'wkd_logit_loss',
    'wkd_sigmoid_loss',
    'wkd_transport_plan',
    'wsld_loss',
    'wttm_loss',
    'zipf_distribution',
    'zipf_loss',
]
