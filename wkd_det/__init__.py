"""Wasserstein knowledge distillation for MMDetection.

``custom_imports = dict(imports=['wkd_det'])`` registers all that configs name. Where mmengine
is not installed nothing is registered, and :mod:`wkd_det.functional` and :mod:`wkd_det.losses` work
with torch alone.
"""

from importlib.util import find_spec

import wkd_det_standin  # noqa: F401  where the package was not installed, only put on the path
from wkd_det.version import __version__

__all__ = ['__version__']

if find_spec('mmengine') is not None:
    from wkd_det.runtime.found import require

    require('mmengine', *(['mmcv', 'mmdet'] if find_spec('mmdet') is not None else []))

    from wkd_det.registry import register
    from wkd_det.runtime.checkpoints import allow_mmengine_checkpoints

    register()
    allow_mmengine_checkpoints()
