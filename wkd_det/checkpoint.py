"""Old import path of checkpoints, now in ``wkd_det.runtime``: lent until 0.3, with a warning."""

from __future__ import annotations

from wkd_det.runtime.moved import lend

_HOMES = {
    'allow_mmengine_checkpoints': 'wkd_det.runtime.checkpoints',
    'load_strictly': 'wkd_det.runtime.state',
    'read_checkpoint': 'wkd_det.runtime.checkpoints',
    'read_tensor': 'wkd_det.runtime.files',
    'weights_hash': 'wkd_det.runtime.state',
    'weights_of': 'wkd_det.runtime.state',
    'write_whole': 'wkd_det.runtime.files',
}

__all__ = list(_HOMES)
__getattr__ = lend(__name__, _HOMES)
