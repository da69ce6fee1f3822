"""Kept weights of a teacher: a small file that everybody starts from, on any machine."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.runtime.files import write_whole
from wkd_det.runtime.state import weights_of


def keep_weights(checkpoint: Path, output: Path) -> None:
    """Write the weights of a checkpoint, and what it says of its data, to a file half the size.

    Convention:
        - Floats of two dimensions and more become float16; vectors (biases, statistics of batch
          normalisation), which are small and wide in range, stay as they are, and so does a matrix
          with a value that float16 does not hold.
        - Whoever loads them into a float32 network has rounded weights: those are the teacher.

    Args:
        checkpoint: Checkpoint of a training.
        output: File to write.
    """
    content = read_checkpoint(checkpoint)
    meta = content.get('meta') or {}
    kept = dict(
        meta={key: meta[key] for key in ('dataset_meta', 'epoch', 'iter') if key in meta},
        state_dict={name: _half(value) for name, value in weights_of(content).items()},
    )
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    write_whole(output, buffer.getvalue())


def _half(value: Tensor) -> Tensor:
    if not value.is_floating_point() or value.ndim < 2:
        return value.clone()
    half = value.half()
    return half if half.isfinite().all() else value.clone()
