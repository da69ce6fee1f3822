"""MMDetection's own command-line tools, run with wkd_det imported; mistakes are one sentence."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mmdet

import wkd_det  # noqa: F401  registers everything and lets torch read mmengine's checkpoints
from config_catalogue.catalogue import Catalogue
from config_catalogue.renamed import instead_of
from processes import leave_processes, prepare_cpu_processes
from wkd_det.runtime.config import config_file
from wkd_det.runtime.mistakes import ours_among


def run(name: str) -> None:
    """Run ``mmdet/.mim/tools/<name>.py`` with this process's arguments.

    Flags, help and behaviour are MMDetection's own, and a config may be a name such as
    ``wkd_det::mini/wkd-lf.py``. If a file is not there, or wkd_det refuses
    something in a config or a teacher, the process ends with one sentence; other errors keep
    their traceback.
    """
    script = Path(mmdet.__file__).parent / '.mim/tools' / f'{name}.py'
    if not script.is_file():
        sys.exit(f'error: {script} is missing: install mmdet from its package (pip install mmdet)')
    prepare_cpu_processes()
    with mistakes_in_one_sentence():
        sys.argv[1:] = [config_file(text) if '::' in text else text for text in sys.argv[1:]]
        runpy.run_path(str(script), run_name='__main__')
        leave_processes()


@contextmanager
def mistakes_in_one_sentence() -> Iterator[None]:
    """End the process with one sentence if something is missing or wkd_det refuses something.

    A config that earlier versions had is answered with the command that writes it, or with its
    new path.
    """
    try:
        yield
    except FileNotFoundError as error:
        sys.exit(f'error: {instead_of(Catalogue(), str(error)) or error}')
    except (
        ConnectionError, FloatingPointError, ImportError, KeyError, TypeError, ValueError,
    ) as error:  # fmt: skip
        ours = ours_among(error)
        if ours is None:
            raise
        sys.exit(f'error: {ours.args[0] if ours.args else ours}')
