"""The imports of ``mmcv._ext`` and ``pkg_resources`` on a machine that has neither.

``mmcv-lite`` has the Python code of ``mmcv.ops`` and not the compiled module ``mmcv._ext`` that it
calls. :class:`Finder` answers for that one module with :mod:`wkd_det_standin.ext`, whose kernels
are those of torchvision. It is asked after all others, so a compiled module always comes first.

mmengine up to 0.10.7 asks ``pkg_resources``, which setuptools 82 removed, where packages lie
(``mmdet::`` in configs). :class:`PackageFinder` gives it :mod:`wkd_det_standin.package_utils` in
place of its own module, and only there where that module could not work.

The file ``wkd_det_standin.pth``, installed next to the package, imports this module when Python
starts; it goes when the package is uninstalled. Nothing but the standard library is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

NAME = 'mmcv._ext'


class Finder:
    """Finds ``mmcv._ext`` after everybody else has failed to."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of the stand-in, or None for every other module."""
        if name != NAME:
            return None
        from importlib.util import spec_from_file_location
        from os.path import dirname, join

        return spec_from_file_location(name, join(dirname(__file__), 'ext.py'))


class PackageFinder:
    """Finds a module of mmengine that works without ``pkg_resources``, where there is none."""

    name = 'mmengine.utils.package_utils'

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of the stand-in, or None for all that is well as it is."""
        if name != cls.name:
            return None
        from importlib.util import find_spec, spec_from_file_location
        from os.path import dirname, join

        if find_spec('pkg_resources') is not None:
            return None
        own = PathFinder.find_spec(name, path)
        if own is None or own.origin is None:
            return own
        with open(own.origin, encoding='utf-8') as file:
            if 'pkg_resources' not in file.read():
                return own
        return spec_from_file_location(name, join(dirname(__file__), 'package_utils.py'))


def mend(modules: Mapping[str, ModuleType]) -> None:
    """Give mmengine, where it was imported before, the functions that the finder would have given.

    Args:
        modules: Those that are imported, by name.
    """
    old = modules.get(PackageFinder.name)
    spec = old and PackageFinder.find_spec(old.__name__, modules['mmengine.utils'].__path__)
    if not spec or spec.origin == old.__file__:
        return
    from importlib.util import module_from_spec

    new = module_from_spec(spec)
    spec.loader.exec_module(new)
    known = {getattr(old, name): getattr(new, name) for name in new.__all__}
    for name, module in list(modules.items()):
        if name.partition('.')[0] == 'mmengine':
            for function in new.__all__:
                if vars(module).get(function) in known:
                    setattr(module, function, known[vars(module)[function]])


def install() -> None:
    """Let Python ask the finders, the one of mmengine first; nothing if it does already."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
        sys.meta_path.insert(0, PackageFinder)
        mend(sys.modules)


install()
