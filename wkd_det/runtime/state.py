"""State of a network and of chance: weights put in strictly, their hash, random states."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from wkd_det.ops.checks import listed


def weights_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the plain model's weights in a checkpoint.

    Takes the ``state_dict`` (or ``model``, as the public CIFAR archives call it) out of a
    training checkpoint, strips the ``module.`` of parallel wrappers and leaves out what a
    distilled student carries in addition to its own weights.

    Raises:
        ValueError: If ``state_dict`` is no dict.
    """
    state = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))
    if not isinstance(state, Mapping):
        raise ValueError(f'state_dict of the checkpoint is a {type(state).__name__}, not a dict')
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

    On an error the module is as it was before. Only ``num_batches_tracked`` may be missing, which
    old checkpoints lack and eval mode ignores.

    Args:
        module: The network. One that also accepts the weights of its bare network renames them
            in a method ``own_keys``.
        weights: Tensors by key.
        source: Where they come from, for the message.

    Raises:
        ValueError: With the keys at fault.
    """
    own = {key: value.detach().clone() for key, value in module.state_dict().items()}
    weights = module.own_keys(weights) if hasattr(module, 'own_keys') else weights
    faults = [
        f'{key} {_shape(weights[key])} instead of {_shape(value)}'
        for key, value in own.items()
        if key in weights and _shape(weights[key]) != _shape(value)
    ]
    if not faults:
        # Only loading itself shows what is missing: modules may know keys by older names.
        try:
            missing, unexpected = module.load_state_dict(weights, strict=False)
        except RuntimeError as error:  # such a key has another shape
            faults = [' '.join(str(error).split())]
        else:
            missing = [key for key in missing if not key.endswith('num_batches_tracked')]
            kinds = dict(missing=missing, unexpected=unexpected)
            faults = [f'{kind} keys: {listed(keys, 8)}' for kind, keys in kinds.items() if keys]
        if not faults:
            return
        module.load_state_dict(own)
    raise ValueError(f'{source} does not fit {type(module).__name__}: {"; ".join(faults)}')


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 over names, shapes, types and bytes of all parameters and buffers.

    It distinguishes networks whatever file their weights came from, and is the same for a training
    checkpoint and for an export of its weights.

    Example:
        >>> layer = torch.nn.Linear(1, 1)
        >>> before = weights_hash(layer)
        >>> layer.bias.data += 1
        >>> len(before), before == weights_hash(layer)
        (64, False)
    """
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f'{key} {tuple(value.shape)} {value.dtype}\n'.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def random_state() -> dict[str, Any]:
    """Return the states of Python, numpy and torch, as numbers and tensors.

    So ``torch.load(weights_only=True)`` reads them.
    """
    kind, keys, *rest = np.random.get_state()
    return dict(
        python=random.getstate(),
        numpy=(str(kind), keys.tolist(), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    )


def set_random_state(state: dict[str, Any]) -> None:
    """Continue drawing from where :func:`random_state` was called."""
    kind, keys, *rest = state['numpy']
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([device.cpu() for device in state['cuda']])
