"""Pictures of what the losses work with."""

from wkd_det.visualization.attention_grid import Scene, attention_grid
from wkd_det.visualization.class_discrepancy import (
    class_discrepancy,
    fit_linearly,
    plot_class_discrepancy,
)
from wkd_det.visualization.class_map import MAPS, class_map
from wkd_det.visualization.correlation_difference import (
    class_correlation,
    correlation_difference,
)
from wkd_det.visualization.dendrogram import dendrogram
from wkd_det.visualization.feature_scatter import feature_scatter
from wkd_det.visualization.heat_map import heat_map
from wkd_det.visualization.plot_interrelation import plot_interrelation
from wkd_det.visualization.transport_plan import plot_transport_plan

__all__ = [
    'MAPS',
    'Scene',
    'attention_grid',
    'class_correlation',
    'class_discrepancy',
    'class_map',
    'correlation_difference',
    'dendrogram',
    'feature_scatter',
    'fit_linearly',
    'heat_map',
    'plot_class_discrepancy',
    'plot_interrelation',
    'plot_transport_plan',
]
