"""The libraries underneath: which ones are there, in which version, and what mmcv computes with.

Versions are those of modules: ``mmcv``, ``mmengine`` and ``mmdet`` come from distributions of
several names (``mmcv``, ``mmcv-lite``, ``onedl-mmcv``), of which any will do.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

LEAST = {'mmengine': '0.10.4', 'mmcv': '2.1.0', 'mmdet': '3.3.0'}
"""Oldest versions that work, by module."""

_INSTALL = "pip install 'wkd_det[openmmlab]', or 'wkd_det[onedl]' for the libraries of OneDL"


def require(*names: str) -> None:
    """Import modules and refuse old ones.

    Args:
        names: Keys of ``LEAST``, in the order in which they need each other.

    Raises:
        ImportError: If one is missing or too old, or refuses another one's version.
    """
    for name in names:
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ImportError(
                f'wkd_det needs {name} {LEAST[name]} or later, which is not installed: {_INSTALL}'
            ) from None
        except AssertionError as error:  # so mmdet refuses an mmcv
            raise ImportError(f'{name} cannot be used with what is installed: {error}') from None
        if _numbers(module.__version__) < _numbers(LEAST[name]):
            raise ImportError(
                f'wkd_det needs {name} {LEAST[name]} or later, got {module.__version__} '
                f'in {place_of(module)}: {_INSTALL}'
            )


def version_of(name: str) -> str | None:
    """Return the version that a module says, or None if it is not there or does not import."""
    try:
        return getattr(import_module(name), '__version__', 'of unknown version')
    except Exception:  # also the AssertionError of a module that refuses another
        return None


def mmcv_operators() -> str:
    """Return who computes the operators of mmcv: ``'compiled'``, ``'torchvision'``, ``'none'``."""
    module = sys.modules.get('mmcv._ext')
    try:
        spec = find_spec('mmcv._ext') if module is None else module.__spec__
    except ImportError:  # no mmcv
        spec = None
    if spec is None:
        return 'none'
    return 'torchvision' if 'wkd_det_standin' in (spec.origin or '') else 'compiled'


def place_of(module: ModuleType) -> str:
    """Return the folder of a package."""
    return str((module.__path__ if hasattr(module, '__path__') else ['?'])[0])


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version, e.g. ``(3, 3, 0)`` of ``'3.3.0rc1'``."""
    return tuple(map(int, re.findall(r'\d+', version)[:3]))
