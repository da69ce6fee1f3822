"""Wasserstein knowledge distillation for MMDetection.

``custom_imports = dict(imports=['wkd_det'])`` registers everything that configs name.
"""

from wkd_det import classification, connectors, detection, hooks, losses
from wkd_det.costs import sources  # noqa: F401  registers them
from wkd_det.runtime.checkpoints import allow_mmengine_checkpoints
from wkd_det.version import __version__

allow_mmengine_checkpoints()

__all__ = [
    '__version__',
    'classification',
    'connectors',
    'detection',
    'hooks',
    'losses',
]
