"""Putting the weights of a checkpoint into a network."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

_SHOWN_KEYS = 8  # of a mismatch; the rest is counted


def weights_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The plain model's weights in a checkpoint.

    Takes the ``state_dict`` out of a training checkpoint, strips the ``module.`` of parallel
    wrappers and leaves out what a distilled student carries beside its own weights.
    """
    state = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict()
    for key, value in state.items():
        key = key.removeprefix('module.')
        if not key.startswith('distiller.'):
            weights[key] = value
    if hasattr(state, '_metadata'):
        weights._metadata = state._metadata
    return weights


def load_strictly(module: nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Load weights; every key must be there, known and of the right shape.

    Only ``num_batches_tracked`` may be missing, which old checkpoints lack and eval mode ignores.

    Raises:
        ValueError: With the keys at fault.
    """
    own = module.state_dict()
    misshapen = [
        f'{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}'
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if misshapen:
        raise ValueError(f'{source} does not fit {type(module).__name__}: {_some(misshapen)}')
    missing, unexpected = module.load_state_dict(weights, strict=False)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    faults = []
    if missing:
        faults.append(f'missing keys: {_some(missing)}')
    if unexpected:
        faults.append(f'unexpected keys: {_some(unexpected)}')
    if faults:
        raise ValueError(f'{source} does not fit {type(module).__name__}: {"; ".join(faults)}')


def _some(items: list[str]) -> str:
    rest = len(items) - _SHOWN_KEYS
    return ', '.join(items[:_SHOWN_KEYS]) + (f' and {rest} more' if rest > 0 else '')
