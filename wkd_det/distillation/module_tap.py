"""The tap on any module by its name, and the way from its output to a map."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.connectors import Connector
from wkd_det.distillation.tap import Binding, Slot, Tap, common_part
from wkd_det.distillation.view import Pair, StudentView, TeacherView
from wkd_det.ops.checks import check_integers
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


class ModuleTap(Tap):
    """Features of a module of the student and of one of the teacher.

    Maps with channels last and sequences of tokens become maps ``(N, C, H, W)``; class and
    distillation tokens are dropped; a vector becomes a map of one pixel. Of a detector, modules
    of the backbone, the neck, dense heads and the box head can be tapped if they run once per
    pass.

    Args:
        module: Name of the student's module, e.g. ``'layer4'`` or ``'blocks.11'``.
        teacher_tap: Name of the teacher's; the same by default.
        same_size: Refuse maps of different heights or widths. Without it they go to the loss as
            they are, for losses that compare statistics over all pixels.
        widths: Channels of the student's and of the teacher's module, for modules that are not
            reached when the networks are probed with an empty image.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self,
        module: str,
        *,
        teacher_tap: str | None = None,
        same_size: bool = True,
        widths: Sequence[int] | None = None,
    ) -> None:
        if widths is not None:
            if not isinstance(widths, Sequence) or len(widths) != 2:
                raise ValueError(f'widths must be two numbers of channels, got {widths!r}')
            check_integers(**dict(zip(('student_width', 'teacher_width'), widths)))
        self.module = module
        self.teacher_module = module if teacher_tap is None else teacher_tap
        self.student_modules = (self.module,)
        self.teacher_modules = (self.teacher_module,)
        self.same_size = same_size
        self.widths = widths

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        own = copy.deepcopy(student.network_of(student)).to('meta')
        with torch.device('meta'):
            other = student.network_of(registry.build(teacher))
        found = []
        for owner, network, name in (
            ('student', own, self.module),
            ('teacher', other, self.teacher_module),
        ):
            check_module(owner, network, name)
            shape = student.probe(network, [name]).get(name)
            known = self.widths is not None and self.widths[len(found)]
            if shape is None and not known:
                raise ValueError(
                    f'the module {name!r} of the {owner} is not reached by an empty image, so '
                    'its width is unknown: set widths=(student, teacher)'
                )
            layout = None if shape is None else layout_of(name, shape, network)
            found.append((layout, layout.channels if layout is not None else known))
        (self._student, source), (self._teacher, target) = found
        self._networks = dict(student=_hints(own), teacher=_hints(other))
        sizes = [layout and (layout.height, layout.width) for layout, _ in found]
        return Binding(slots=(Slot(source, target, (), *sizes),))

    def attach(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[Connector]
    ) -> None:
        own, other = self._student, self._teacher
        if not self.same_size or own is None or other is None:
            return
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

    def read(
        self, student: StudentView, teacher: TeacherView, connectors: Sequence[Connector]
    ) -> list[Pair]:
        target = self._to_map('teacher', teacher.output(self.teacher_module))
        if self.same_size:
            target = teacher.fitted(self.teacher_module, target)
        features = self._to_map('student', student.output(self.module))
        own = connectors[0](features, target.shape[-2:])
        mask = student.image_mask(self.module, target)
        if self.same_size:
            own, target = common_part(own, target)
        pair = dict(student=own, teacher=target)
        if mask is not None:
            height, width = target.shape[-2:]
            pair['mask'] = mask[:, :height, :width]
        return [pair]

    def _to_map(self, owner: str, output: Tensor) -> Tensor:
        layout = self._student if owner == 'student' else self._teacher
        if layout is None:  # its width was given, its shape shows now
            name = self.module if owner == 'student' else self.teacher_module
            layout = layout_of(name, tuple(output.shape), self._networks[owner])
        return layout.to_map(output)


@dataclass(frozen=True)
class _Hints:
    """Facts about a network that its outputs do not show."""

    num_prefix_tokens: int | None
    output_fmt: str


def _hints(network: nn.Module) -> _Hints:
    # Networks of timm say both.
    return _Hints(
        getattr(network, 'num_prefix_tokens', None), getattr(network, 'output_fmt', 'NCHW')
    )


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


def layout_of(name: str, shape: tuple[int, ...], network: nn.Module | _Hints) -> FeatureLayout:
    """Layout of a module's output for a square image.

    Args:
        name: Name of the module, for the message.
        shape: Shape of its output.
        network: Networks of timm know their prefix tokens and whether channels are last.

    Raises:
        ValueError: If the output is no map, token sequence or vector.
    """
    hints = network if isinstance(network, _Hints) else _hints(network)
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
