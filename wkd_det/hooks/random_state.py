"""The state of all random generators that training draws from, as plain data."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """States of Python, numpy and torch: numbers and tensors, so ``weights_only`` reads them."""
    kind, keys, *rest = np.random.get_state()
    return dict(
        python=random.getstate(),
        numpy=(str(kind), keys.tolist(), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    )


def set_random_state(state: dict[str, Any]) -> None:
    """Go on drawing from where :func:`random_state` was called."""
    kind, keys, *rest = state['numpy']
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([device.cpu() for device in state['cuda']])
