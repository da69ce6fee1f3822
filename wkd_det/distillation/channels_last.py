"""Channels last: a network whose weights, and so its maps, lie with a pixel's channels together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def lay_out_channels_last(network: nn.Module) -> None:
    """Lay a network out with the channels of each pixel side by side in memory, in place.

    Convolutions whose weights lie so give maps that lie so, whatever they are given. Values differ
    in rounding alone.

    Convention:
        - Modules of ``mmcv.ops``, RoIAlign and deformable convolutions among them, keep weights
          and maps in the usual layout: compiled kernels would read others as if they lay so,
          without an error.
        - Weights that are not of four dimensions, those of volumes among them, stay as they are.

    >>> conv = nn.Conv2d(8, 8, 3)
    >>> lay_out_channels_last(conv)
    >>> conv(torch.rand(2, 8, 5, 5)).is_contiguous(memory_format=torch.channels_last)
    True
    """
    operators = [
        module for module in network.modules() if type(module).__module__.startswith('mmcv.ops')
    ]
    kept = {id(part) for module in operators for part in _tensors(module)}
    for part in _tensors(network):
        if part.dim() == 4 and id(part) not in kept:
            part.data = part.data.contiguous(memory_format=torch.channels_last)
    for module in operators:
        module.register_forward_pre_hook(_in_usual_layout, with_kwargs=True)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _in_usual_layout(
    module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(_contiguous, inputs)), {name: _contiguous(one) for name, one in named.items()}


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
