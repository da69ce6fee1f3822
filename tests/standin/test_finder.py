"""``mmcv._ext`` is found whatever is imported first, and a compiled one comes before it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import wkd_det_standin

ROOT = Path(__file__).parents[2]
START = ROOT / 'wkd_det_standin.pth'


@pytest.fixture
def mmcv(tmp_path, monkeypatch):
    """The folder of an ``mmcv`` without kernels, which is the one that is imported."""
    folder = tmp_path / 'mmcv'
    folder.mkdir()
    package = types.ModuleType('mmcv')
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, 'mmcv', package)
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    importlib.invalidate_caches()
    return folder


def test_a_module_with_a_file_and_a_spec_stands_in(mmcv):
    module = importlib.import_module('mmcv._ext')
    assert module.__spec__.name == 'mmcv._ext'
    assert Path(module.__spec__.origin) == ROOT / 'wkd_det_standin/ext.py'
    assert Path(module.__file__) == ROOT / 'wkd_det_standin/ext.py'


def test_a_module_of_mmcv_itself_is_never_shadowed(mmcv):
    (mmcv / '_ext.py').write_text('kernels = "compiled"')
    assert importlib.import_module('mmcv._ext').kernels == 'compiled'


def test_no_other_module_is_answered_for(mmcv):
    for name in ('mmcv._flow_ext', 'mmcv.ops', '_ext'):
        assert wkd_det_standin.Finder.find_spec(name) is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmcv._other')


def python(code, folder, **environment):
    """What Python prints in a process whose site folder is ``folder``."""
    start = f'import site; site.addsitedir({str(folder)!r})\n'
    done = subprocess.run(
        [sys.executable, '-S', '-c', start + code],
        capture_output=True, text=True, check=False,
        env=dict(os.environ, **environment), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path):
    """A site folder with the package installed, and an ``mmcv`` without kernels."""
    (tmp_path / START.name).write_bytes(START.read_bytes())
    (tmp_path / 'wkd_det_standin').symlink_to(ROOT / 'wkd_det_standin')
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').touch()
    return tmp_path


FIND = "from importlib.util import find_spec; print(find_spec('mmcv._ext'))"


def test_python_knows_it_from_its_start_and_imports_nothing_for_it(site):
    assert 'wkd_det_standin/ext.py' in python(FIND, site, PYTHONPATH='')
    heavy = "import sys; print({'torch', 'mmcv', 'wkd_det', 'importlib.util'} & {*sys.modules})"
    assert python(heavy, site, PYTHONPATH='') == 'set()\n'


def test_it_is_gone_with_the_package(site):
    (site / START.name).unlink()
    (site / 'wkd_det_standin').unlink()
    assert python(FIND, site, PYTHONPATH='') == 'None\n'


def test_a_start_file_that_was_left_behind_is_silent(site):
    (site / 'wkd_det_standin').unlink()
    assert python(FIND, site, PYTHONPATH='') == 'None\n'
