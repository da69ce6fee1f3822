"""Networks without weights: on the meta device, where nothing is computed or stored."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wkd_det import registry

_FACTORIES = (torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros)
"""Functions that parameters are made with. Numbers that code computes with while it builds a
network, e.g. the rates of a Swin's stochastic depth, are made otherwise and must have values."""
_UNREGISTERED = re.compile('must be a registered name|is not in the .* registry')
"""How this package and mmengine say that a type is unknown."""


class LacksPartsError(ImportError):
    """Raised where a network cannot be built on this machine: a package or a type is missing."""


class _EmptyParameters(TorchFunctionMode):
    """A block in which new parameters are on the meta device."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES:
            kwargs.setdefault('device', 'meta')
        return func(*args, **kwargs)


def empty_copy(network: nn.Module) -> nn.Module:
    """A copy of a network on the meta device, in evaluation mode."""
    # Told to ``deepcopy`` as copied already, so that no weight is.
    made: dict[int, Any] = {
        id(one): nn.Parameter(one.detach().to('meta'), one.requires_grad)
        for one in network.parameters()
    }
    made.update((id(one), one.to('meta')) for one in network.buffers())
    copied = copy.deepcopy(network, made)
    copied.eval()  # of some wrappers it returns nothing
    return copied


def empty_network(config: Mapping[str, Any]) -> nn.Module:
    """The network of a model config on the meta device, in evaluation mode.

    The random state stays as it was.

    Args:
        config: With ``type``; left as it is.

    Raises:
        LacksPartsError: If a package that it needs is not installed, or a type is not registered.
    """
    try:
        return _built_empty(config)
    except (ImportError, KeyError) as error:
        reason = str(error.args[0]) if error.args else type(error).__name__
        if isinstance(error, KeyError) and not _UNREGISTERED.search(reason):
            raise
        kind = config.get('type')
        name = kind if isinstance(kind, str) else getattr(kind, '__name__', kind)
        raise LacksPartsError(f'{name} cannot be built here: {reason}') from error


def _built_empty(config: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        try:
            with _EmptyParameters():
                network = registry.build(copy.deepcopy(config))
        except (NotImplementedError, RuntimeError):  # code that reads a parameter
            network = registry.build(copy.deepcopy(config))
    network.eval()
    return network.to('meta')
