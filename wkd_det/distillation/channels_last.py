"""Channels last: a network whose weights, and so its maps, lie with a pixel's channels together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def lay_out_channels_last(network: nn.Module) -> None:
    """Lay a network out with the channels of each pixel side by side in memory, in place.

    Convolutions whose weights lie so give maps that lie so, whatever they are given. Values differ
    in rounding alone. Doing it again changes nothing.

    Convention:
        - Modules of ``mmcv.ops``, RoIAlign and deformable convolutions among them, and of classes
          derived from them have weights, maps and gradients in the usual layout: compiled kernels
          misread others, or refuse them.
        - Weights that are not of four dimensions, those of volumes among them, stay as they are.

    >>> conv = nn.Conv2d(8, 8, 3)
    >>> lay_out_channels_last(conv)
    >>> conv(torch.rand(2, 8, 5, 5)).is_contiguous(memory_format=torch.channels_last)
    True
    """
    operators = [module for module in network.modules() if _is_operator_of_mmcv(module)]
    usual = {id(part) for module in operators for part in _tensors(module)}
    for part in _tensors(network):
        if part.dim() == 4:
            layout = torch.contiguous_format if id(part) in usual else torch.channels_last
            # Unlike contiguous(), to() sets the strides of kernels of 1 x 1 as well, which lie both
            # ways; convolutions go by them.
            part.data = part.data.to(memory_format=layout)
    for module in operators:
        if _usual_inputs not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_usual_inputs, with_kwargs=True)
            module.register_forward_hook(_usual_gradient)


def _is_operator_of_mmcv(module: nn.Module) -> bool:
    return any(kind.__module__.startswith('mmcv.ops') for kind in type(module).__mro__)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _usual_inputs(
    module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(_contiguous, inputs)), {name: _contiguous(one) for name, one in named.items()}


def _usual_gradient(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(_contiguous)


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
