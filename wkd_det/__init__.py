"""Wasserstein knowledge distillation for MMDetection.

``custom_imports = dict(imports=['wkd_det'])`` registers everything that configs name.
"""

from wkd_det import classification, connectors, detection, hooks, interrelation, losses
from wkd_det.checkpoint import allow_mmengine_checkpoints
from wkd_det.version import __version__

allow_mmengine_checkpoints()

__all__ = [
    '__version__',
    'classification',
    'connectors',
    'detection',
    'hooks',
    'interrelation',
    'losses',
]
