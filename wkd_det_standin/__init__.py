"""Imports of OpenMMLab's libraries that fail on today's machines, and what stands in for them.

``mmcv-lite`` has the Python code of ``mmcv.ops`` and not the compiled module ``mmcv._ext`` that it
calls. :class:`Finder` answers for that one module with :mod:`wkd_det_standin.ext`, whose kernels
are those of torchvision. It is asked after all others, so a compiled module always comes first.

mmengine up to 0.10.7 asks ``pkg_resources`` where packages lie (``mmdet::`` in configs). setuptools
82 removed that, and it does not find editable installations. :class:`PackageFinder` gives mmengine
:mod:`wkd_det_standin.package_utils` in place of a module that asks it. mmengine also has a table of
the packages whose configs have such names, to which :class:`NameFinder` adds ``wkd_det::``.

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
    """Finds a module of mmengine that works without ``pkg_resources``."""

    name = 'mmengine.utils.package_utils'

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of the stand-in, or None for all that is well as it is."""
        if name != cls.name:
            return None
        from importlib.util import spec_from_file_location
        from os.path import dirname, join

        own = PathFinder.find_spec(name, path)
        if own is None or own.origin is None:
            return own
        with open(own.origin, encoding='utf-8') as file:
            if 'pkg_resources' not in file.read():
                return own
        return spec_from_file_location(name, join(dirname(__file__), 'package_utils.py'))


class NameFinder:
    """Finds mmengine's own table of packages, and adds a row to it."""

    name = 'mmengine.config.utils'

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of mmengine's module, or None for every other one."""
        spec = PathFinder.find_spec(name, path) if name == cls.name else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            cls.add(module)

        spec.loader.exec_module = exec_module
        return spec

    @staticmethod
    def add(module: ModuleType) -> None:
        """Add the row; nothing where the table has another form."""
        table = getattr(module, 'MODULE2PACKAGE', None)
        if isinstance(table, dict):
            table.setdefault('wkd_det', 'wkd_det')


def mend(modules: Mapping[str, ModuleType]) -> None:
    """Give mmengine, where it was imported before, what the finders would have given it.

    Args:
        modules: Those that are imported, by name.
    """
    if NameFinder.name in modules:
        NameFinder.add(modules[NameFinder.name])
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
    """Let Python ask the finders, those of mmengine first; nothing if it does already."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
        sys.meta_path[:0] = [PackageFinder, NameFinder]
        mend(sys.modules)


install()
