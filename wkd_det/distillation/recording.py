"""Outputs of named modules during one call of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


class Outputs:
    """What modules of one network have returned, by module name; ``''`` is the network."""

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[Any, int]] = {}

    def note(self, name: str, output: Any) -> None:
        """Keep an output; of a module that runs more than once, the last one."""
        self._outputs[name] = output, getattr(output, '_version', 0)

    def __getitem__(self, name: str) -> Tensor:
        """The output of a module.

        Raises:
            ValueError: If the module did not run, returned no tensor, or what it returned was
                changed in place afterwards.
        """
        if name not in self._outputs:
            raise ValueError(f'the module {name!r} did not run in this pass')
        output, version = self._outputs[name]
        if not isinstance(output, Tensor):
            raise ValueError(
                f'the module {name!r} returns a {type(output).__name__}, not a tensor: tap one '
                'inside it'
            )
        if output._version != version:
            raise ValueError(
                f'the output of {name!r} is changed in place by a later layer: tap the module '
                'around them'
            )
        return output


@contextmanager
def recording(network: nn.Module, names: Iterable[str]) -> Iterator[Outputs]:
    """Note what the named modules return while the network runs inside the block."""
    outputs = Outputs()
    handles = [
        network.get_submodule(name).register_forward_hook(partial(_note, outputs, name))
        for name in names
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _note(outputs: Outputs, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    outputs.note(name, output)


@contextmanager
def _replaced(owner: nn.Module, name: str, replacement: Callable) -> Iterator[None]:
    """Set an attribute of the instance; give back afterwards what the instance had, if it had."""
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
