"""The import of ``mmcv._ext`` on a machine that has no compiled one.

``mmcv-lite`` has the Python code of ``mmcv.ops`` and not the compiled module ``mmcv._ext`` that it
calls. :class:`Finder` answers for that one module with :mod:`wkd_det_standin.ext`, whose kernels
are those of torchvision. It is asked after all others, so a compiled module always comes first.

The file ``wkd_det_standin.pth``, installed next to the package, imports this module when Python
starts; it goes when the package is uninstalled. Nothing but the standard library is imported here.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

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


def install() -> None:
    """Let Python ask the finder last; nothing if it does already."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)


install()
