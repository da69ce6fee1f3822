"""Models built and trained from a config that stays as it is."""

from __future__ import annotations

import copy

import torch
from mmdet.registry import MODELS
from mmengine.runner import Runner


def build(config, seed=0):
    """A model in training mode, its initial weights drawn from the seed."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def train(config, work_dir, **changes):
    """The runner that has trained a config, some of whose values are changed."""
    config = copy.deepcopy(config)
    config.merge_from_dict(dict(changes, work_dir=str(work_dir)))
    config.experiment_name = work_dir.name
    runner = Runner.from_cfg(config)
    runner.train()
    return runner
