"""mmengine finds packages without ``pkg_resources``."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

import mmdet
import mmengine
import pytest

import wkd_det_standin
from wkd_det_standin import NameFinder, PackageFinder, package_utils

NAME = PackageFinder.name
OLD = """
import subprocess

def is_installed(package):
    import pkg_resources
def get_installed_path(package):
    from pkg_resources import get_distribution
def package2module(package): ...
def call_command(cmd): ...
def install_package(package): ...
"""


@pytest.fixture(params=[OLD, 'def is_installed(package): ...'], ids=['upstream', 'OneDL'])
def folder(request, tmp_path):
    """A folder with such a module of mmengine."""
    (tmp_path / 'package_utils.py').write_text(request.param)
    return tmp_path


def test_where_packages_are():
    assert package_utils.get_installed_path('mmdet') == str(Path(mmdet.__file__).parent)
    assert Path(package_utils.get_installed_path('POT')).name == 'ot'
    assert package_utils.package2module('POT') == 'ot'
    assert [package_utils.is_installed(name) for name in ('mmdet', 'POT', 'ot', 'absent')] == [
        True, True, True, False,
    ]  # fmt: skip


def test_the_same_as_mmengine_where_that_works():
    pytest.importorskip('pkg_resources')
    spec = importlib.util.spec_from_file_location(
        'own', Path(mmengine.__file__).parent / 'utils/package_utils.py'
    )
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    for name in ('mmdet', 'mmengine', 'POT'):
        assert own.get_installed_path(name) == package_utils.get_installed_path(name)
        assert own.is_installed(name) == package_utils.is_installed(name)
    assert own.package2module('POT') == package_utils.package2module('POT')


def test_packages_that_are_not_there(tmp_path, monkeypatch):
    for function in (package_utils.get_installed_path, package_utils.package2module):
        with pytest.raises(PackageNotFoundError, match='absent'):
            function('absent')
    (tmp_path / 'hollow').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not package_utils.is_installed('hollow')
    message = '^hollow is a namespace package, which is invalid for `get_install_path`$'
    with pytest.raises(RuntimeError, match=message):
        package_utils.get_installed_path('hollow')


def test_install_package(monkeypatch):
    called = []
    monkeypatch.setattr(package_utils.subprocess, 'check_call', called.append)
    package_utils.install_package('mmdet')
    package_utils.install_package('absent')
    assert called == [[sys.executable, '-m', 'pip', 'install', 'absent']]


def test_only_a_module_that_asks_pkg_resources_is_replaced(folder):
    spec = PackageFinder.find_spec(NAME, [str(folder)])
    if 'pkg_resources' in (folder / 'package_utils.py').read_text():
        assert spec.origin == package_utils.__file__
    else:
        assert spec.origin == str(folder / 'package_utils.py')


def test_other_modules_are_not_looked_at():
    assert PackageFinder.find_spec('mmengine.utils.path', ['/nowhere']) is None
    assert PackageFinder.find_spec(NAME, ['/nowhere']) is None


def test_mmengine_that_was_imported_before(folder):
    old = ModuleType(NAME)
    old.__file__ = str(folder / 'package_utils.py')
    exec((folder / 'package_utils.py').read_text(), vars(old))
    utils, config = ModuleType('mmengine.utils'), ModuleType('mmengine.config.config')
    other = ModuleType('other')
    utils.__path__ = [str(folder)]
    for module in (utils, config, other):
        module.is_installed = old.is_installed
    wkd_det_standin.mend({item.__name__: item for item in (old, utils, config, other)})
    mended = hasattr(old, 'package2module')
    for module in (old, utils, config):
        assert (module.is_installed.__code__.co_filename == package_utils.__file__) == mended
    assert other.is_installed.__code__.co_filename != package_utils.__file__


def test_the_table_of_packages_gets_a_row_and_keeps_the_others(tmp_path):
    (tmp_path / 'utils.py').write_text("MODULE2PACKAGE = {'mmdet': 'mmdet'}")
    spec = NameFinder.find_spec(NameFinder.name, [str(tmp_path)])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.MODULE2PACKAGE == {'mmdet': 'mmdet', 'wkd_det': 'wkd_det'}
    assert NameFinder.find_spec('mmengine.config', [str(tmp_path)]) is None
    before = ModuleType(NameFinder.name)
    before.MODULE2PACKAGE = {}
    wkd_det_standin.mend({before.__name__: before, 'other': ModuleType('other')})
    assert before.MODULE2PACKAGE == {'wkd_det': 'wkd_det'}
    NameFinder.add(ModuleType('a later mmengine without the table'))


def test_there_is_one_finder_however_often_it_is_installed():
    wkd_det_standin.install()
    finders = (wkd_det_standin.Finder, PackageFinder, NameFinder)
    assert [sys.meta_path.count(finder) for finder in finders] == [1, 1, 1]
