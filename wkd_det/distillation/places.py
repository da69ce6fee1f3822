"""Places: modules of one network by their own names or by common ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from wkd_det.distillation.recording import module_of
from wkd_det.ops.checks import are_names
from wkd_det.runtime.config import near_matches

Place = str | Sequence[str]
"""Name of a module, or names of several; with ``:input`` what the module is given."""


@dataclass(frozen=True)
class Places:
    """Common names of modules of one network, e.g. ``'last'`` or ``'stages'``."""

    chosen: Mapping[str, Place] = field(default_factory=dict)
    """Those that the config names; they stand over modules of the same name."""
    usual: Mapping[str, Place] = field(default_factory=dict)
    """Those that are known of the network; modules of the same name stand over them."""

    def module(self, owner: str, network: nn.Module, name: str) -> str:
        """The module of a name, which may be that of a place.

        Args:
            owner: ``'student'`` or ``'teacher'``, for messages.
            network: Whose module it is.
            name: Name of a module, or of a place of one module.

        Raises:
            KeyError: If there is none, with near matches.
            ValueError: If the place has several modules.
        """
        if name in self.chosen or (name in self.usual and not _has_module(network, name)):
            place = self.of(name)
            if not isinstance(place, str):
                raise ValueError(
                    f'the place {name!r} of the {owner} has several modules, {list(place)}: use '
                    f'the tap stages or pyramid with modules={name!r}'
                )
            name = place
        check_module(owner, network, name, self.names())
        return name

    def modules(self, owner: str, network: nn.Module, given: Place) -> list[str]:
        """Modules of names, where a place stands for all of its modules.

        Args:
            owner: ``'student'`` or ``'teacher'``, for messages.
            network: Whose modules they are.
            given: Name of a place or module, or several such. A place stands over a module of the
                same name.

        Raises:
            KeyError: If one is not there, with near matches.
        """
        modules: list[str] = []
        for name in [given] if isinstance(given, str) else given:
            place = self.of(name)
            found = [name] if place is None else [place] if isinstance(place, str) else place
            for module in found:
                check_module(owner, network, module, self.names())
            modules += found
        return modules

    def of(self, name: str) -> Place | None:
        """The place of a name; None if there is none."""
        return self.chosen.get(name, self.usual.get(name))

    def names(self) -> list[str]:
        """Names of all places."""
        return [*dict.fromkeys((*self.chosen, *self.usual))]


def check_names(**values: Place | None) -> None:
    """Refuse what is neither the name of a place or module nor a list of such.

    Raises:
        ValueError: With the name of the option.
    """
    for option, value in values.items():
        names = [value] if isinstance(value, str) else value
        if value is not None and not (are_names(names) and names):
            raise ValueError(
                f'{option} must be the name of a module or of a place, or a list of such, got '
                f'{value!r}'
            )


def check_module(owner: str, network: nn.Module, name: str, places: Sequence[str] = ()) -> None:
    """Refuse the name of a module that is not there.

    Args:
        owner: ``'student'`` or ``'teacher'``, for the message.
        network: Whose module it is.
        name: With or without ``:input`` at the end.
        places: Other names that would have been understood.

    Raises:
        KeyError: With near matches.
    """
    if not _has_module(network, name):
        names = [known for known, _ in network.named_modules() if known]
        raise KeyError(
            f'the {owner} {type(network).__name__} has no such module: '
            f'{near_matches(name, [*names, *places])}'
        )


def _has_module(network: nn.Module, name: str) -> bool:
    module = module_of(name)
    return any(module == known for known, _ in network.named_modules() if known)
