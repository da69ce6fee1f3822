"""Recording of a pass: outputs and inputs of named modules, and attributes replaced for a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


class Recorded:
    """Tensors that modules of one network returned or received, by module name.

    The name ``''`` is the network itself.

    Args:
        single: Refuse a module that ran more than once; without it the last run counts.
    """

    def __init__(self, *, single: bool = False) -> None:
        self._single = single
        self._values: dict[str, tuple[Any, int]] = {}
        self._runs: dict[str, int] = {}

    def note(self, name: str, value: Any) -> None:
        """Keep the value of a module's latest run."""
        self._values[name] = value, getattr(value, '_version', 0)
        self._runs[name] = self._runs.get(name, 0) + 1

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
        if name not in self._values:
            raise ValueError(f'the module {name!r} did not run in this pass')
        if self._single and self._runs[name] > 1:
            raise ValueError(
                f'the module {name!r} runs {self._runs[name]} times in a pass, once per level or '
                'stage: tap a module that runs once'
            )
        value, version = self._values[name]
        if not isinstance(value, Tensor):
            raise ValueError(
                f'the module {name!r} returns a {type(value).__name__}, not a tensor: tap one '
                'inside it'
            )
        if value._version != version:
            raise ValueError(
                f'the output of {name!r} is changed in place by a later layer: tap the module '
                'around them'
            )
        return value


@contextmanager
def recording(
    network: nn.Module,
    names: Iterable[str],
    *,
    inputs: bool = False,
    into: Recorded | None = None,
) -> Iterator[Recorded]:
    """Record what the named modules return while the network runs inside the block.

    Args:
        network: Its hooks are removed when the block ends, however it ends.
        names: Modules of the network.
        inputs: Record the first positional input in place of the output.
        into: Where to record; a new :class:`Recorded` by default.
    """
    recorded = Recorded() if into is None else into
    handles = []
    for name in names:
        module = network.get_submodule(name)
        handles.append(
            module.register_forward_pre_hook(partial(_note_input, recorded, name))
            if inputs
            else module.register_forward_hook(partial(_note_output, recorded, name))
        )
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _note_output(recorded: Recorded, name: str, module: nn.Module, args: Any, output: Any) -> None:
    recorded.note(name, output)


def _note_input(recorded: Recorded, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    recorded.note(name, args[0])


@contextmanager
def replaced(owner: nn.Module, name: str, replacement: Callable) -> Iterator[None]:
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
