"""Recording of a pass: outputs and inputs of named modules, and attributes replaced for a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

INPUT = ':input'
"""End of a name that stands for the first input of a module and not for its output."""


def module_of(name: str) -> str:
    """The module that a name with or without ``:input`` speaks of.

    >>> module_of('layer3.2.relu2:input')
    'layer3.2.relu2'
    """
    return name.removesuffix(INPUT)


class Recorded:
    """Tensors that modules of one network returned or received, by name.

    The name ``''`` is the network itself; ``<module>:input`` is what a module was given.

    Args:
        single: Refuse a module that ran more than once; without it the last run counts.
        repeated: Names of which every run is kept, for :meth:`every`.
    """

    def __init__(self, *, single: bool = False, repeated: Iterable[str] = ()) -> None:
        self._single = single
        self._every: dict[str, list[Any]] = {name: [] for name in repeated}
        self._values: dict[str, tuple[Any, int]] = {}
        self._runs: dict[str, int] = {}

    def note(self, name: str, value: Any) -> None:
        """Keep the value of a module's latest run."""
        self._values[name] = value, getattr(value, '_version', 0)
        self._runs[name] = self._runs.get(name, 0) + 1
        if name in self._every:
            self._every[name].append(value)

    def every(self, name: str) -> list[Any]:
        """The values of all runs of a module, one of ``repeated``, e.g. one per level."""
        return self._every[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def latest(self, name: str) -> Any:
        """The value of a module's latest run, as it is now; None if it did not run."""
        return self._values.get(name, (None,))[0]

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of a module.

        Raises:
            ValueError: If the module did not run, ran more than once where that is refused, gave
                no tensor, or its tensor was changed in place afterwards.
        """
        module = module_of(name)
        verb, noun = ('is given', 'input') if name.endswith(INPUT) else ('returns', 'output')
        if name not in self._values:
            raise ValueError(f'the module {module!r} did not run in this pass')
        if self._single and self._runs[name] > 1:
            raise ValueError(
                f'the module {module!r} runs {self._runs[name]} times in a pass, once per level or '
                'stage: tap a module that runs once'
            )
        value, version = self._values[name]
        if not isinstance(value, Tensor):
            raise ValueError(
                f'the module {module!r} {verb} a {type(value).__name__}, not a tensor: tap one '
                'inside it'
            )
        if value._version != version:
            raise ValueError(
                f'the {noun} of {module!r} is changed in place by a later layer: tap the module '
                'around them'
            )
        return value


@contextmanager
def recording(
    network: nn.Module,
    names: Iterable[str],
    *,
    into: Recorded | None = None,
) -> Iterator[Recorded]:
    """Record what the named modules return while the network runs inside the block.

    Args:
        network: Its hooks are removed when the block ends, however it ends.
        names: Modules of the network; with ``:input`` at the end the first positional input is
            recorded. Where a part of the module works in place it is copied before.
        into: Where to record; a new :class:`Recorded` by default.
    """
    recorded = Recorded() if into is None else into

    def note(name: str, value: Any) -> None:
        taken = name.endswith(INPUT) and isinstance(value, Tensor)
        if taken and _works_in_place(network.get_submodule(module_of(name))):
            value = value.clone()
        recorded.note(name, value)

    with watching(network, names, note):
        yield recorded


@contextmanager
def watching(
    network: nn.Module, names: Iterable[str], note: Callable[[str, Any], None]
) -> Iterator[None]:
    """Call ``note`` with a name and a value whenever a named module runs inside the block.

    The value is what the module returns, or with ``:input`` at the end of the name its first
    positional argument, None without one. Hooks are removed however the block ends.
    """
    with ExitStack() as hooks:
        for name in names:
            module = network.get_submodule(module_of(name))
            hooks.callback(_hook(module, name, note).remove)
        yield


def _hook(module: nn.Module, name: str, note: Callable[[str, Any], None]) -> RemovableHandle:
    if name.endswith(INPUT):
        return module.register_forward_pre_hook(
            lambda _, args: note(name, args[0] if args else None)
        )
    return module.register_forward_hook(lambda _, args, output: note(name, output))


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Tensors in nested tuples, lists and dicts, such as modules are given and return."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (Mapping, list, tuple)):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from tensors_in(value)


def _works_in_place(module: nn.Module) -> bool:
    return any(getattr(part, 'inplace', False) for part in module.modules())


@contextmanager
def replaced(owner: Any, name: str, replacement: Callable) -> Iterator[None]:
    """Replace an attribute of an instance inside the block and restore it afterwards.

    An attribute that the instance itself did not have is deleted again.
    """
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
