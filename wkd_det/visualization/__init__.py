"""Pictures of what the losses work with."""

from wkd_det.visualization.class_map import MAPS, class_map
from wkd_det.visualization.dendrogram import dendrogram
from wkd_det.visualization.heat_map import heat_map
from wkd_det.visualization.plot_interrelation import plot_interrelation

__all__ = ['MAPS', 'class_map', 'dendrogram', 'heat_map', 'plot_interrelation']
