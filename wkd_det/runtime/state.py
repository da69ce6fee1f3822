"""State of a network and of chance: weights put in strictly, their hash, random states."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.model import is_model_wrapper
from torch import nn

from wkd_det.ops.checks import listed

_PLACES = ('state_dict', 'model', 'model_state_dict', 'net', 'module')
"""Where checkpoints hold weights: mmengine, torchvision's references and the CIFAR archives
(``model``), tutorials of PyTorch, kuangliu's CIFAR networks (``net``), DeepSpeed (``module``)."""
_WRAPPERS = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
"""Names that torch.compile, FSDP and activation checkpointing give a module they wrap."""
_COUNTERS = ('n_averaged', 'steps')
"""Counters of torch's ``AveragedModel`` and of mmengine's."""
_PIXELS = ('data_preprocessor.mean', 'data_preprocessor.std', 'pixel_mean', 'pixel_std')
"""Statistics of images that older preprocessors kept among the weights."""


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the plain model's weights in a checkpoint.

    Takes them out of a training checkpoint (``state_dict``, ``model`` and other names), strips
    the prefixes of wrappers (parallel, averaging, compiling), and leaves out what is there in
    addition to the model's own weights: what a distilled student carries, counters of averages,
    and the second copy that the moving average of MMDetection 2 keeps (``ema_backbone_...``).

    Raises:
        ValueError: If they are no dict, or there are none.
    """
    # Next to the weights a file may hold e.g. the name of its model under another of these names.
    found = [name for name in _PLACES if name in checkpoint]
    holding = [name for name in found if isinstance(checkpoint[name], Mapping)]
    place = next(iter([*holding, *found]), None)
    state = checkpoint if place is None else checkpoint[place]
    if not isinstance(state, Mapping):
        raise ValueError(f'{place} of the checkpoint is a {type(state).__name__}, not a dict')
    if (
        place is None
        and state
        and not any(isinstance(value, torch.Tensor) for value in state.values())
    ):
        raise ValueError(
            f'the checkpoint holds {listed(state, 8)} and no weights under any of the names '
            f'{", ".join(_PLACES)}'
        )
    weights = OrderedDict()
    averaged = False
    for key, value in state.items():
        name = unwrapped_key(key)
        averaged |= key.startswith('module.')
        if not name.startswith('distiller.'):
            weights[name] = value
    second = {f'ema_{name.replace(".", "_")}' for name in weights}
    for name in second.intersection(weights).union(_COUNTERS if averaged else ()):
        weights.pop(name, None)
    if hasattr(state, '_metadata'):
        weights._metadata = state._metadata
    return weights


def unwrapped_key(key: str) -> str:
    """Return the key of a weight without the names that wrappers put into it.

    >>> unwrapped_key('module._orig_mod.backbone._orig_mod.conv1.weight')
    'backbone.conv1.weight'
    """
    parts = [part for part in key.split('.') if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] == 'module':
        parts = parts[1:]
    return '.'.join(parts)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model behind a parallel wrapper, e.g. DDP; any other as it is."""
    return model.module if is_model_wrapper(model) else model


def load_strictly(module: nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Load weights; every key must be there, known and of the right shape.

    On an error the module is as it was before. ``num_batches_tracked`` may be missing, which old
    checkpoints lack and eval mode ignores. Mean and standard deviation of the pixels may be there
    where the module keeps none: they are those of its config.

    Args:
        module: The network. One that also accepts the weights of its bare network renames them
            in a method ``own_keys``.
        weights: Tensors by key.
        source: Where they come from, for the message.

    Raises:
        ValueError: With the keys at fault.
    """
    own = {key: value.detach().clone() for key, value in module.state_dict().items()}
    weights = _without(weights, [key for key in weights if _is_of_pixels(key) and key not in own])
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


def _is_of_pixels(key: str) -> bool:
    return any(key == name or key.endswith(f'.{name}') for name in _PIXELS)


def _without(weights: dict[str, torch.Tensor], keys: list[str]) -> dict[str, torch.Tensor]:
    if not keys:
        return weights
    rest = OrderedDict((key, value) for key, value in weights.items() if key not in keys)
    if hasattr(weights, '_metadata'):
        rest._metadata = weights._metadata
    return rest


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


def random_state(*, cuda: bool = True) -> dict[str, Any]:
    """Return the states of Python, numpy and torch, as numbers and tensors.

    So ``torch.load(weights_only=True)`` reads them.

    Args:
        cuda: With those of the GPUs, which a forked worker must not touch.
    """
    kind, keys, *rest = np.random.get_state()
    return dict(
        python=random.getstate(),
        numpy=(str(kind), keys.tolist(), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if cuda and torch.cuda.is_available() else [],
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
