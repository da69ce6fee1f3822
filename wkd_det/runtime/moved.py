"""Old import paths: names that have moved, lent from there for one release with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lend(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module whose names have moved.

    Nothing is imported before a name is asked for. The first use of each name warns.

    Args:
        module: The old path, ``__name__`` of the module.
        homes: Module in which each name is defined now.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807  what Python looks for in a module
        if name not in homes:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        warnings.warn(
            f'{module}.{name} has moved to {homes[name]}.{name}; the old path works until '
            'wkd_det 0.3',
            FutureWarning,
            stacklevel=2,
        )
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[module], name, value)
        return value

    return __getattr__
