"""Old import path of pictures, now in ``wkd_det.inspection``: lent until 0.3, with a warning."""

from __future__ import annotations

from wkd_det.runtime.moved import lend

_HOMES = {
    'MAPS': 'wkd_det.inspection.class_pictures',
    'Scene': 'wkd_det.inspection.attention',
    'attention_grid': 'wkd_det.inspection.attention',
    'class_correlation': 'wkd_det.inspection.network_pictures',
    'class_discrepancy': 'wkd_det.inspection.network_pictures',
    'class_map': 'wkd_det.inspection.class_pictures',
    'correlation_difference': 'wkd_det.inspection.network_pictures',
    'dendrogram': 'wkd_det.inspection.class_pictures',
    'feature_scatter': 'wkd_det.inspection.network_pictures',
    'fit_linearly': 'wkd_det.inspection.network_pictures',
    'heat_map': 'wkd_det.inspection.class_pictures',
    'plot_class_discrepancy': 'wkd_det.inspection.network_pictures',
    'plot_interrelation': 'wkd_det.inspection.class_pictures',
    'plot_transport_plan': 'wkd_det.inspection.network_pictures',
}

__all__ = list(_HOMES)
__getattr__ = lend(__name__, _HOMES)
