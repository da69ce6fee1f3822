"""Several processes on a machine without a GPU, which mmengine alone cannot start."""

from __future__ import annotations

import os
import sys

import torch
from torch import distributed


def prepare_cpu_processes() -> None:
    """Join the processes that torchrun has started by gloo, if there is no GPU for NCCL.

    mmengine's own ``--launcher pytorch`` gives each process a GPU, and its wrapper names that GPU
    to DistributedDataParallel. A process group that exists already it leaves alone, and
    ``model_wrapper_cfg`` is its option for the wrapper; both are set here, so that MMDetection's
    tools run unchanged. With a GPU, or in one process, nothing is done.
    """
    if 'TORCHELASTIC_RUN_ID' not in os.environ or torch.cuda.is_available():
        return
    if '--launcher' not in ' '.join(sys.argv):
        return
    distributed.init_process_group('gloo')
    # mmengine's default wrapper but for the device; broadcast_buffers is its default, not torch's.
    sys.argv += [
        '--cfg-options',
        'model_wrapper_cfg.device_ids=None',
        'model_wrapper_cfg.broadcast_buffers=False',
    ]
