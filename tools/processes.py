"""Processes of a tool that torchrun has started: how they meet without a GPU, and how they part."""

from __future__ import annotations

import gc
import os
import sys

import torch
from torch import distributed

if distributed.is_available():
    # Imported later, its functions would hold the group that exists then, as a default.
    import torch.distributed.nn  # noqa: F401


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


def leave_processes() -> None:
    """End this process's membership in the group, if it has one, and the group's threads.

    mmengine leaves the group as it is, and a thread of gloo that outlives the interpreter may then
    end a process whose work is done with ``terminate called without an active exception``
    (pytorch/pytorch#190489). After an error the group is left to the launcher: another process may
    still wait in it.
    """
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()  # a wrapped model is part of cycles and holds the group
        distributed.destroy_process_group()
