"""What a module's output means: a map, channels first or last, tokens, or a vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wkd_det.classification.recording import recording


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


def probe_layouts(
    network: nn.Module, names: list[str], image_size: int
) -> dict[str, FeatureLayout]:
    """Run a throw-away network on the meta device and read what its modules return.

    Nothing is computed: no random number is drawn and no statistic moves.

    Args:
        network: On the meta device; left in eval mode.
        names: Of modules that exist.
        image_size: Side of the square images.

    Raises:
        ValueError: If an output is no map, token sequence or vector.
    """
    network.eval()
    images = torch.zeros(1, 3, image_size, image_size, device='meta')
    with torch.no_grad(), recording(network, names) as outputs:
        network(images)
    return {name: _layout(name, tuple(outputs[name].shape), network) for name in names}


def _layout(name: str, shape: tuple[int, ...], network: nn.Module) -> FeatureLayout:
    if len(shape) == 2:
        return FeatureLayout('vector', shape[1], 1, 1)
    if len(shape) == 3:
        return _tokens(shape, getattr(network, 'num_prefix_tokens', None))
    if len(shape) == 4:
        _, first, second, third = shape
        # The image is square, so the two equal lengths are those of space. Where all three are
        # equal, only networks of timm with channels last say so.
        last = first == second and getattr(network, 'output_fmt', 'NCHW') == 'NHWC'
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
