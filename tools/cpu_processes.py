"""Several processes on a machine without a GPU, which mmengine alone cannot start."""

from __future__ import annotations

import os
import sys

import torch
from torch import distributed


def join_by_gloo() -> bool:
    """Join the processes that torchrun has started, if there is no GPU for NCCL.

    mmengine's own ``--launcher pytorch`` gives each process a GPU, and keeps a process group that
    exists already. With a GPU, in one process or without ``--launcher``, nothing is done and the
    result is False.
    """
    if 'TORCHELASTIC_RUN_ID' not in os.environ or torch.cuda.is_available():
        return False
    if '--launcher' not in ' '.join(sys.argv):
        return False
    distributed.init_process_group('gloo')
    return True


def prepare_cpu_processes() -> None:
    """Let MMDetection's tools run in several processes without a GPU.

    The processes are joined, and mmengine's wrapper must not name a GPU to
    DistributedDataParallel: ``model_wrapper_cfg`` is its option for that.
    """
    if join_by_gloo():
        # mmengine's default wrapper except for the device; broadcast_buffers=False is its default,
        # not torch's.
        sys.argv += [
            '--cfg-options',
            'model_wrapper_cfg.device_ids=None',
            'model_wrapper_cfg.broadcast_buffers=False',
        ]
