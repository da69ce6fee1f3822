"""What a module's output means: a map, channels first or last, tokens, or a vector."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.classification.classifier import network_of
from wkd_det.distillation.recording import recording
from wkd_det.distillation.tap import Tap
from wkd_det.runtime.config import near_matches


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


class ModuleTap(Tap):
    """Features of a module of the student and of one of the teacher.

    Maps with channels last and sequences of tokens become maps ``(N, C, H, W)``; class and
    distillation tokens are dropped; a vector becomes a map of one pixel.

    Args:
        module: Name of the student's module, e.g. ``'layer4'`` or ``'blocks.11'``.
        teacher_tap: Name of the teacher's; the same by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are, for losses that compare statistics over all pixels.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self, module: str, *, teacher_tap: str | None = None, same_size: bool = True
    ) -> None:
        self.module = module
        self.teacher_module = module if teacher_tap is None else teacher_tap
        self.same_size = same_size

    def widths(self, student: nn.Module, teacher: Mapping[str, Any]) -> list[tuple[int, int]]:
        size = student.image_size
        own = copy.deepcopy(student.network).to('meta')
        self._student = _probe('student', own, self.module, size)
        with torch.device('meta'):
            other = network_of(registry.build(teacher))
        self._teacher = _probe('teacher', other, self.teacher_module, size)
        return [(self._student.channels, self._teacher.channels)]

    def check(self, student: nn.Module, teacher: nn.Module, connectors: nn.ModuleList) -> None:
        if not self.same_size:
            return
        own, other = self._student, self._teacher
        connector = copy.deepcopy(connectors[0]).to('meta').eval()
        size = other.height, other.width
        with torch.no_grad():
            features = torch.zeros(1, own.channels, own.height, own.width, device='meta')
            found = tuple(connector(features, size).shape[-2:])
        if found != size:
            raise ValueError(
                f'the student gives {found[0]} x {found[1]} at {self.module!r} after its '
                f'connector, the teacher {size[0]} x {size[1]} at {self.teacher_module!r}: use '
                'TransposedConvConnector (doubles the size), ConvConnector with resize=True, or '
                'same_size=False'
            )

    def pairs(
        self, student: Any, teacher: Any, connectors: nn.ModuleList
    ) -> list[dict[str, Tensor]]:
        target = self._teacher.to_map(teacher.outputs[self.teacher_module])
        features = self._student.to_map(student.outputs[self.module])
        features = connectors[0](features, target.shape[-2:])
        return [dict(student=features, teacher=target)]


def check_module(owner: str, network: nn.Module, name: str) -> None:
    """Refuse the name of a module that is not there.

    Raises:
        KeyError: With near matches.
    """
    names = [known for known, _ in network.named_modules() if known]
    if name not in names:
        raise KeyError(
            f'the {owner} {type(network).__name__} has no such module: {near_matches(name, names)}'
        )


def _probe(owner: str, network: nn.Module, name: str, image_size: int) -> FeatureLayout:
    check_module(owner, network, name)
    return probe_layouts(network, [name], image_size)[name]
