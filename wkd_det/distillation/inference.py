"""Inference of the teacher: type of its numbers, layout in memory, folded normalisations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wkd_det.distillation.channels_last import lay_out_channels_last
from wkd_det.distillation.folding import fold
from wkd_det.ops.checks import check_booleans, check_choice
from wkd_det.runtime.config import check_keys

_TYPES = dict(half=torch.float16, bfloat16=torch.bfloat16, float32=torch.float32)
_CAST_BY_AUTOCAST = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


@dataclass(frozen=True)
class Inference:
    """How the frozen teacher computes: the section ``teacher.inference``.

    Nothing set: in the type of the batch, and where autocast is on its weights are cast in every
    step, as autocast keeps casts of those weights alone that have a gradient.

    Taps get maps of the usual layout either way, and outside autocast in the type of the batch.

    Convention:
        - ``dtype='autocast'`` changes no bit; where autocast is off it changes nothing at all.
        - ``'half'`` and ``'bfloat16'`` leave batch normalisations in float32, as autocast does.
        - ``fuse`` and ``channels_last`` change the rounding: sums are added up in another order.
    """

    dtype: str | None = None
    """``'autocast'``: as autocast says, weights cast once and kept in addition to those in
    float32. ``'half'``, ``'bfloat16'``, ``'float32'``: always this, autocast off, but for the
    transformers of detectors: in half precision they run under autocast of this type."""
    channels_last: bool = False
    """Keep maps and weights with channels last in memory, as tensor cores want them."""
    fuse: bool = False
    """Fold batch normalisations into the convolutions before them."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None, section: str = 'teacher') -> Inference:
        """Read the section ``inference`` of a teacher, refusing unknown keys.

        Args:
            config: The section; None for nothing set.
            section: Place of the teacher in the config, for messages.

        Raises:
            TypeError: If it is no dict.
            KeyError: If it has other keys.
            ValueError: If a value is none of the choices.
        """
        if config is None:
            return cls()
        if not isinstance(config, Mapping):
            raise TypeError(f'{section}.inference must be a dict, got {config!r}')
        check_keys(f'{section}.inference', config, [field.name for field in fields(cls)])
        dtype = {f'{section}.inference.dtype': config.get('dtype')}
        check_choice((None, 'autocast', *_TYPES), **dtype)
        for name in ('channels_last', 'fuse'):
            check_booleans(**{f'{section}.inference.{name}': config.get(name, False)})
        return cls(**config)

    @property
    def type(self) -> torch.dtype | None:
        """The type that does not depend on the batch; None where it does."""
        return _TYPES.get(self.dtype)

    def prepare(self, network: nn.Module, pairs: Sequence[tuple[str, str]] = ()) -> None:
        """Bring a frozen network into this form, in place.

        Args:
            network: In evaluation mode; its data preprocessor stays as it is.
            pairs: Names of convolutions and normalisations to fold; see
                :func:`~wkd_det.distillation.folding.foldable`.
        """
        fold(network, pairs)
        if self.type is not None:
            _cast(network, self.type)
        elif self.dtype == 'autocast':
            for layer in network.modules():
                if _is_cast_by_autocast(layer):
                    layer.forward = partial(_with_cast_weights, layer, {})
        if self.channels_last:
            lay_out_channels_last(network)

    def computing(self, device: torch.device, *, mixed: bool = False) -> AbstractContextManager:
        """A block in which parts of the network run.

        Args:
            device: The network's.
            mixed: The parts make numbers of float32 of their own, e.g. encodings of positions,
                which meet weights of another type.
        """
        if self.type not in (None, torch.float32) and mixed:
            return torch.autocast(device.type, dtype=self.type)
        if self.type is None or autocast_type(device) is None:
            return nullcontext()
        return torch.autocast(device.type, enabled=False)

    def taken(self, values: Any) -> Any:
        """Values as the network takes them: floating tensors in its type, in nested tuples too."""
        if self.type is None:
            return values
        return _mapped(lambda tensor: tensor.to(self.type), values)

    def laid_out(self, images: Tensor) -> Tensor:
        """Images in the network's type and layout."""
        images = self.taken(images)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images

    def given(self, values: Any, like: torch.dtype | None) -> Any:
        """Outputs of the network as others read them, in nested tuples, lists and dicts too.

        Args:
            values: Floating tensors, and anything else, which stays.
            like: Type of the batch; None where the batch does not matter. Under autocast types are
                left to autocast.
        """
        if self.type is None and not self.channels_last:
            return values

        def one(tensor: Tensor) -> Tensor:
            if self.type is not None and like is not None and autocast_type(tensor.device) is None:
                tensor = tensor.to(like)
            return tensor.contiguous() if self.channels_last else tensor

        return _mapped(one, values)


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in on a device; None where it is off."""
    if device.type == 'meta':  # knows no autocast
        return None
    if torch.__version__ >= (2, 4):
        on = torch.is_autocast_enabled(device.type)
        return torch.get_autocast_dtype(device.type) if on else None
    if device.type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def _mapped(change: Callable[[Tensor], Tensor], values: Any) -> Any:
    if isinstance(values, Tensor):
        return change(values) if values.is_floating_point() else values
    if isinstance(values, dict):
        return {key: _mapped(change, value) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(_mapped(change, value) for value in values)
    return values


def _is_cast_by_autocast(layer: nn.Module) -> bool:
    """Whether a layer has a weight of its own, none that is computed in each pass from others."""
    plain = any(type(layer).forward is kind.forward for kind in _CAST_BY_AUTOCAST)
    return plain and 'weight' in layer._parameters


def _with_cast_weights(
    layer: nn.Module, made: dict[Any, dict[str, Any]], *args: Any, **kwargs: Any
) -> Tensor:
    """Output of a layer whose weights are cast for autocast at the first call, and kept.

    The weights under their names stay in float32, for everybody who reads them.
    """
    plain = layer._parameters
    weight = plain['weight']
    dtype = autocast_type(weight.device)
    if dtype is None or weight.dtype != torch.float32:
        return type(layer).forward(layer, *args, **kwargs)
    key = dtype, weight.device
    if key not in made:
        made.clear()
        made[key] = {
            name: None if value is None else nn.Parameter(value.to(dtype), requires_grad=False)
            for name, value in plain.items()
        }
    layer._parameters = made[key]
    try:
        return type(layer).forward(layer, *args, **kwargs)
    finally:
        layer._parameters = plain


def _cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast what is no count, no batch normalisation and no part of a data preprocessor."""
    left = {
        part
        for module in network.modules()
        if isinstance(module, (_BatchNorm, BaseDataPreprocessor))
        for part in module.modules()
    }
    for module in set(network.modules()) - left:
        if type(module)._apply is not nn.Module._apply and not list(module.children()):
            module.to(dtype)  # it keeps a part in float32: timm's rotary embeddings, the periods
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_floating_point():
                module._buffers[name] = buffer.to(dtype)
