"""Layouts: how the output of a module, map, tokens or vector, becomes a map."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class FeatureLayout:
    """Shape of one module's output, and the way from it to a map ``(N, C, H, W)``."""

    kind: str
    """``'NCHW'``, ``'NHWC'``, ``'tokens'`` or ``'vector'``."""
    channels: int
    height: int
    width: int
    prefix: int = 0
    """Tokens before those of the patches: class and distillation tokens, registers."""

    def to_map(self, output: Tensor) -> Tensor:
        """The output as a map, shape ``(N, C, H, W)``; tokens before the patches are dropped.

        Raises:
            ValueError: If its tokens make no square.
        """
        if self.kind == 'NHWC':
            return output.permute(0, 3, 1, 2)
        if self.kind == 'vector':
            return output[:, :, None, None]
        if self.kind == 'tokens':
            patches = output[:, self.prefix :]
            side = math.isqrt(patches.shape[1])
            if side * side != patches.shape[1]:
                raise ValueError(
                    f'{patches.shape[1]} patch tokens make no square map: tokens are read from '
                    'square images only'
                )
            return patches.transpose(1, 2).unflatten(2, (side, side))
        return output


@dataclass(frozen=True)
class Hints:
    """Facts about a network that its outputs do not show."""

    num_prefix_tokens: int | None
    output_fmt: str


def hints_of(network: nn.Module) -> Hints:
    """Facts about a network that it says itself; those of timm do."""
    return Hints(
        getattr(network, 'num_prefix_tokens', None), getattr(network, 'output_fmt', 'NCHW')
    )


def layout_of(name: str, shape: tuple[int, ...], network: nn.Module | Hints) -> FeatureLayout:
    """Layout of a module's output for a square image.

    Args:
        name: Name of the module, for the message.
        shape: Shape of its output.
        network: Networks of timm know their prefix tokens and whether channels are last.

    Raises:
        ValueError: If the output is no map, token sequence or vector.
    """
    hints = network if isinstance(network, Hints) else hints_of(network)
    if len(shape) == 2:
        return FeatureLayout('vector', shape[1], 1, 1)
    if len(shape) == 3:
        return _tokens(shape, hints.num_prefix_tokens)
    if len(shape) == 4:
        _, first, second, third = shape
        # The image is square, so the two equal lengths are those of space. Where all three are
        # equal, only networks of timm with channels last say so.
        last = first == second and hints.output_fmt == 'NHWC'
        if second == third and not last:
            return FeatureLayout('NCHW', first, second, third)
        if first == second:
            return FeatureLayout('NHWC', third, first, second)
    raise ValueError(
        f'the output of {name!r} has the shape {shape}, which is not clearly a map, a sequence of '
        'tokens or a vector: tap another module'
    )


def _tokens(shape: tuple[int, ...], prefix: int | None) -> FeatureLayout:
    _, length, channels = shape
    if prefix is None or math.isqrt(length - prefix) ** 2 != length - prefix:
        prefix = length - math.isqrt(length) ** 2  # of 197 tokens, 14 x 14 are patches
    side = math.isqrt(length - prefix)
    return FeatureLayout('tokens', channels, side, side, prefix)
