"""The module ``mmengine.utils.package_utils`` without ``pkg_resources``, gone in setuptools 82.

Same functions and results, read from :mod:`importlib.metadata`. It stands in for a module of
mmengine that needs ``pkg_resources`` where there is none.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from os.path import dirname

__all__ = [
    'call_command',
    'get_installed_path',
    'install_package',
    'is_installed',
    'package2module',
]


def is_installed(package: str) -> bool:
    """Whether there is a distribution or a module of that name; namespaces do not count."""
    try:
        distribution(package)
    except PackageNotFoundError:
        spec = find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """Return the folder of a package, by the name of its module or of its distribution.

    Raises:
        PackageNotFoundError: If there is none.
        RuntimeError: If it is a namespace.
    """
    spec = find_spec(package) or find_spec(package2module(package))
    if spec is None:
        raise PackageNotFoundError(package)
    if spec.origin is None:
        raise RuntimeError(
            f'{package} is a namespace package, which is invalid for `get_install_path`'
        )
    return dirname(spec.origin)


def package2module(package: str) -> str:
    """Return the name of the first module of a distribution.

    Raises:
        PackageNotFoundError: If there is no such distribution.
        ValueError: If it does not say.
    """
    names = (distribution(package).read_text('top_level.txt') or '').split()
    if not names:
        raise ValueError(f'can not infer the module name of {package}')
    return names[0]


def call_command(cmd: list) -> None:
    """Run a command.

    Raises:
        CalledProcessError: If it fails.
    """
    subprocess.check_call(cmd)


def install_package(package: str) -> None:
    """Install a package with pip if it is missing."""
    if not is_installed(package):
        call_command([sys.executable, '-m', 'pip', 'install', package])
