"""What is installed: versions of modules, refusals in one sentence, and who computes."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from wkd_det.runtime.found import LEAST, mmcv_operators, require, version_of

INSTALL = r"pip install 'wkd_det\[openmmlab\]', or 'wkd_det\[onedl\]' for the libraries of OneDL"


@pytest.fixture
def fake(monkeypatch):
    """Replace a module by one of a version."""

    def replace(name, version):
        module = ModuleType(name)
        module.__version__, module.__path__ = version, [f'/libraries/{name}']
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return replace


@pytest.mark.parametrize('version', ['3.3.0', '3.3.1rc1', '3.10', '4.0.0.post1'])
def test_new_enough(fake, version):
    fake('mmdet', version)
    require('mmdet')
    assert version_of('mmdet') == version


@pytest.mark.parametrize('version', ['3.2.0', '2.28.2', '3.2.99+cu118'])
def test_too_old(fake, version):
    fake('mmdet', version)
    message = f'^wkd_det needs mmdet 3.3.0 or later, got {version.replace("+", r".")} '
    with pytest.raises(ImportError, match=f'{message}in /libraries/mmdet: {INSTALL}$'):
        require('mmengine', 'mmdet')


def test_missing(monkeypatch):
    monkeypatch.setitem(LEAST, 'mmabsent', '1.2')
    message = '^wkd_det needs mmabsent 1.2 or later, which is not installed: '
    with pytest.raises(ImportError, match=f'{message}{INSTALL}$'):
        require('mmabsent')
    assert version_of('mmabsent') is None


def test_a_library_that_lacks_another_one_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / 'mmlacking.py').write_text('import absent_dependency')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(LEAST, 'mmlacking', '1')
    with pytest.raises(ModuleNotFoundError, match="No module named 'absent_dependency'"):
        require('mmlacking')


def test_a_library_that_refuses_another_one(tmp_path, monkeypatch):
    (tmp_path / 'mmrefusing.py').write_text("assert False, 'MMCV==9 is used but incompatible.'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(LEAST, 'mmrefusing', '1')
    message = (
        '^mmrefusing cannot be used with what is installed: MMCV==9 is used but incompatible.$'
    )
    with pytest.raises(ImportError, match=message):
        require('mmrefusing')
    assert version_of('mmrefusing') is None


@pytest.mark.parametrize(
    ('origin', 'found'),
    [
        ('/site/wkd_det_standin/ext.py', 'torchvision'),
        ('/site/mmcv/_ext.cpython-311-x86_64-linux-gnu.so', 'compiled'),
    ],
)
def test_who_computes_the_operators(origin, found, monkeypatch):
    module = ModuleType('mmcv._ext')
    module.__spec__ = ModuleSpec('mmcv._ext', None, origin=origin)
    monkeypatch.setitem(sys.modules, 'mmcv._ext', module)
    assert mmcv_operators() == found


def test_nobody_does_without_mmcv(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    assert mmcv_operators() == 'none'
