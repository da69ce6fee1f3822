"""Old import path of class distances, now in ``wkd_det.costs``: lent until 0.3, with a warning."""

from __future__ import annotations

from wkd_det.runtime.moved import lend

_HOMES = {
    'BACKGROUND': 'wkd_det.costs.matrix',
    'METHODS': 'wkd_det.costs.build',
    'BuildOptions': 'wkd_det.costs.build',
    'ClassExamples': 'wkd_det.costs.features',
    'ClassMoments': 'wkd_det.costs.statistics',
    'ClassSample': 'wkd_det.costs.statistics',
    'ClassifierCost': 'wkd_det.costs.sources',
    'ConstantCost': 'wkd_det.costs.sources',
    'CostFile': 'wkd_det.costs.files',
    'FeatureSource': 'wkd_det.costs.features',
    'FileCost': 'wkd_det.costs.sources',
    'PrototypeCost': 'wkd_det.costs.sources',
    'build_interrelation': 'wkd_det.costs.build',
    'check_suffix': 'wkd_det.costs.files',
    'read_cost_file': 'wkd_det.costs.files',
    'read_prototypes': 'wkd_det.costs.files',
    'write_cost_file': 'wkd_det.costs.files',
}

__all__ = list(_HOMES)
__getattr__ = lend(__name__, _HOMES)
