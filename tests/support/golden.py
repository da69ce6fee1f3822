"""Reference values of the methods' own code: inputs, weights, losses and gradients, float64."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).parents[1] / 'data' / 'rivals_golden.npz'
INPUTS = ('logits', 'vectors', 'maps')


@cache
def _arrays():
    with np.load(FILE) as arrays:
        return {key: arrays[key] for key in arrays.files}


def golden(case):
    """Fields of a case such as ``'nkd/0'`` (or of shared inputs such as ``'maps'``) by name.

    Numbers are Python numbers, arrays tensors of their own, so that a test may ask for gradients.
    """
    prefix = f'{case}/'
    fields = {
        key.removeprefix(prefix): torch.from_numpy(value).clone() if value.ndim else value.item()
        for key, value in _arrays().items()
        if key.startswith(prefix)
    }
    if not fields:
        raise KeyError(f'{FILE.name} has no case {case!r}')
    return fields


def state(case, prefix):
    """Weights of a module in a case, by the keys of its ``state_dict``."""
    start = f'{prefix}.'
    return {
        key.removeprefix(start): torch.as_tensor(value)
        for key, value in golden(case).items()
        if key.startswith(start)
    }


def check(case, loss, *, rtol=1e-10, **wanted):
    """Compare a loss with that of a case, and its gradients with ``grad_<name>``.

    Args:
        case: Name of the case.
        loss: Scalar with a graph.
        rtol: Relative tolerance; for gradients also that of the largest entry.
        **wanted: Tensors by the name of their gradient.
    """
    fields = golden(case)
    expected = torch.tensor(fields['loss'], dtype=loss.dtype)
    torch.testing.assert_close(loss.detach(), expected, rtol=rtol, atol=0)
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    for (name, tensor), gradient in zip(wanted.items(), found):
        gradient = torch.zeros_like(tensor) if gradient is None else gradient
        reference = torch.as_tensor(fields[f'grad_{name}'], dtype=tensor.dtype)
        scale = reference.abs().max().item()
        torch.testing.assert_close(
            gradient,
            reference.reshape(gradient.shape),
            rtol=rtol,
            atol=rtol * scale,
            msg=lambda text, name=name: f'gradient of {name}: {text}',
        )
