"""Folding: batch normalisations of a frozen network that become part of the convolution before."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import TorchDispatchMode

from wkd_det.distillation.recording import tensors_in, watching

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def foldable(
    network: nn.Module, parts: Iterable[Callable[[], Any]], read: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Find the batch normalisations that can be folded by watching the network run.

    The order in which modules are defined says nothing (pre-activation networks normalise before
    the convolution), so each part is run once. A pair is found where every run of the convolution
    is normalised by the same module, that module normalises nothing else, and nobody else sees the
    value between the two: no other operation, no caller of the part, no reader of a module.

    Args:
        network: In evaluation mode.
        parts: Functions that run parts of it and return what the part returns. One that fails
            contributes nothing.
        read: Modules whose outputs, or with ``:input`` inputs, somebody reads.

    Returns:
        Names of convolution and normalisation.
    """
    names = {module: name for name, module in network.named_modules()}
    pairs: list[tuple[str, str]] = []
    spoilt: set[nn.Module] = set()  # they run in other parts as well, in another way
    for run in parts:
        watch = _Watch(network)
        try:
            with watch, watching(network, read, watch.note), torch.no_grad():
                watch.see(run())
        except Exception:  # noqa: BLE001, S110  a head that wants more than maps
            spoilt |= watch.modules
            continue
        found = watch.pairs()
        spoilt |= watch.modules - {module for pair in found for module in pair}
        pairs += [pair for pair in found if pair not in pairs]
    return [
        (names[convolution], names[norm])
        for convolution, norm in pairs
        if not {convolution, norm} & spoilt
    ]


def fold(network: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold normalisations into the convolutions before them, in place.

    Names stay: what is left of the normalisation takes its place, an ``nn.Identity`` or, of timm's
    with an activation, the activation. Computed in float64 and rounded once.

    Args:
        network: In evaluation mode.
        pairs: Names of convolution and normalisation, as :func:`foldable` finds them.
    """
    for name, norm_name in pairs:
        convolution, norm = network.get_submodule(name), network.get_submodule(norm_name)
        dtype = convolution.weight.dtype
        transposed = isinstance(convolution, _CONVOLUTIONS[3:])
        folded = fuse_conv_bn_eval(convolution.double(), norm.double(), transposed)
        convolution.weight, convolution.bias = folded.weight, folded.bias
        convolution.to(dtype).requires_grad_(False)
        parent, _, own = norm_name.rpartition('.')
        setattr(network.get_submodule(parent), own, _rest_of(norm).eval())


class _Watch(TorchDispatchMode):
    """Convolutions and normalisations in a run, and how often each value between them is used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._uses: Counter[int] = Counter()
        self._seen: set[int] = set()
        self._alive: list[Any] = []  # so that no other tensor gets the same id
        self._made: dict[int, nn.Module] = {}
        self._taken: list[tuple[nn.Module, int]] = []
        self._handles: list[Any] = []

    def __enter__(self) -> _Watch:
        for module in self._network.modules():
            if _is_convolution(module):
                self._handles.append(module.register_forward_hook(self._note_made))
            elif _is_norm(module) and module.running_mean is not None:
                self._handles.append(module.register_forward_pre_hook(self._note_taken))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tensors_in((args, kwargs)):
            self._uses[id(tensor)] += 1
        self._alive.append((args, kwargs, result))
        return result

    @property
    def modules(self) -> set[nn.Module]:
        """Convolutions and normalisations that ran."""
        return {*self._made.values(), *(norm for norm, _ in self._taken)}

    def see(self, values: Any) -> None:
        """Note values that somebody reads."""
        self._alive.append(values)
        self._seen.update(map(id, tensors_in(values)))

    def note(self, name: str, value: Any) -> None:
        """Note what a module that somebody reads returned or was given."""
        self.see(value)

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Convolutions and the normalisations that alone see their outputs."""
        norms: dict[nn.Module, set[nn.Module]] = {}
        sources: dict[nn.Module, set[nn.Module | None]] = {}
        inner: set[int] = set()
        for norm, value in self._taken:
            convolution = self._made.get(value)
            sources.setdefault(norm, set()).add(convolution)
            if convolution is not None:
                norms.setdefault(convolution, set()).add(norm)
                if self._uses[value] == 1 and value not in self._seen:
                    inner.add(value)
        runs = Counter(self._made.values())
        open_ended = {one for value, one in self._made.items() if value not in inner}
        return [
            (convolution, norm)
            for convolution, (norm, *others) in norms.items()
            if not others
            and convolution not in open_ended
            and sources[norm] == {convolution}
            and self._uses[id(convolution.weight)] == runs[convolution]
        ]

    def _note_made(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self._alive.append(output)
        self._made[id(output)] = module

    def _note_taken(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self._alive.append(args)
        self._taken.append((module, id(args[0])))


def _is_plain(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module computes what one of the kinds does, and nothing in addition."""
    own = any(isinstance(module, kind) and _same_code(type(module), kind) for kind in kinds)
    return own and not (
        is_parametrized(module) or module._forward_hooks or module._forward_pre_hooks
    )


def _is_convolution(module: nn.Module) -> bool:
    if not _is_plain(module, _CONVOLUTIONS):
        return False
    # The weights of a transposed one in groups are laid out in another way than torch folds.
    return not isinstance(module, _CONVOLUTIONS[3:]) or module.groups == 1


def _is_norm(module: nn.Module) -> bool:
    kind = type(module)
    return _is_plain(module, (kind,) if _is_activated(kind) else _NORMS)


def _is_activated(kind: type) -> bool:
    """Whether it is timm's batch normalisation with an activation."""
    return kind.__name__ == 'BatchNormAct2d' and kind.__module__.startswith('timm.')


def _rest_of(norm: nn.Module) -> nn.Module:
    """The layers of a normalisation that come after normalising."""
    if not _is_activated(type(norm)):
        return nn.Identity()
    return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))


def _same_code(own: type, kind: type) -> bool:
    names = ('forward', '_conv_forward', '__call__')
    return all(getattr(own, name, None) is getattr(kind, name, None) for name in names)
