"""Checkpoints: read without running code, loaded without tolerance."""

from wkd_det.checkpoint.allow_list import allow_mmengine_checkpoints
from wkd_det.checkpoint.loading import load_strictly, weights_of
from wkd_det.checkpoint.reading import read_checkpoint, read_tensor
from wkd_det.checkpoint.weights_hash import weights_hash
from wkd_det.checkpoint.writing import write_whole

__all__ = [
    'allow_mmengine_checkpoints',
    'load_strictly',
    'read_checkpoint',
    'read_tensor',
    'weights_hash',
    'weights_of',
    'write_whole',
]
