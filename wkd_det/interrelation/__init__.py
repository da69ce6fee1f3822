"""Where class distances come from, and their files."""

from wkd_det.interrelation.classifier_cost import ClassifierCost
from wkd_det.interrelation.cost_file import read_cost_file, write_cost_file
from wkd_det.interrelation.file_cost import FileCost

__all__ = ['ClassifierCost', 'FileCost', 'read_cost_file', 'write_cost_file']
