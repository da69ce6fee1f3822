"""A fingerprint of the weights of a network."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers.

    It tells networks apart whatever file their weights came from, and is the same for a training
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
