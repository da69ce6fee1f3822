"""Length of a training: in which unit a config counts, and how it is made longer or shorter."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config


def length_key(config: Config) -> str:
    """Return ``'max_iters'`` or ``'max_epochs'``: the unit in which the config counts.

    Raises:
        ValueError: If it has neither.
    """
    for key in ('max_iters', 'max_epochs'):
        if config.get('train_cfg') and config.train_cfg.get(key):
            return key
    raise ValueError('the config has no train_cfg with max_iters or max_epochs')


def training_length(config: Config) -> int:
    """Return the number of iterations, or of epochs of an epoch-based config."""
    key = length_key(config)
    return config.train_cfg[key]


def set_length(config: Config, length: int) -> None:
    """Let a config train for another number of iterations (or epochs, if it counts those).

    Whatever was at the end stays at the end: the schedulers' ``end`` and ``T_max``, and a
    validation after the last step. Milestones keep their place relative to the length; a warm-up
    keeps its steps.

    Raises:
        ValueError: If ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f'length must be at least 1, got {length}')
    key = length_key(config)
    old = config.train_cfg[key]
    config.train_cfg[key] = length
    if not old > config.train_cfg.get('val_interval', 1) <= length:
        config.train_cfg.val_interval = length
    by_epoch = key == 'max_epochs'
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('by_epoch', True) == by_epoch:
            _stretch(scheduler, old, length)


def _stretch(scheduler: Any, old: int, new: int) -> None:
    for key in ('end', 'T_max', 'total_iters', 'total_steps'):
        if scheduler.get(key) == old:
            scheduler[key] = new
    if 'milestones' in scheduler:
        scheduler.milestones = [max(1, round(at * new / old)) for at in scheduler.milestones]
