"""Where class distances come from, how they are built from a trained network, and their files."""

from wkd_det.interrelation.build import BuildOptions, build_interrelation
from wkd_det.interrelation.class_matching import BACKGROUND
from wkd_det.interrelation.class_moments import ClassMoments
from wkd_det.interrelation.class_sample import ClassSample
from wkd_det.interrelation.classifier_cost import ClassifierCost
from wkd_det.interrelation.constant_cost import ConstantCost
from wkd_det.interrelation.cost_file import (
    CostFile,
    check_suffix,
    read_cost_file,
    write_cost_file,
)
from wkd_det.interrelation.feature_source import ClassExamples, FeatureSource
from wkd_det.interrelation.file_cost import FileCost
from wkd_det.interrelation.methods import METHODS
from wkd_det.interrelation.prototype_cost import PrototypeCost
from wkd_det.interrelation.prototype_file import read_prototypes

__all__ = [
    'BACKGROUND',
    'METHODS',
    'BuildOptions',
    'ClassExamples',
    'ClassMoments',
    'ClassSample',
    'ClassifierCost',
    'ConstantCost',
    'CostFile',
    'FeatureSource',
    'FileCost',
    'PrototypeCost',
    'build_interrelation',
    'check_suffix',
    'read_cost_file',
    'read_prototypes',
    'write_cost_file',
]
