"""Versions that go together: what users of OpenMMLab packages stumble over when they install."""

import ast
import re
from pathlib import Path

import mmdet
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import Version

from wkd_det.runtime.found import LEAST

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12', '3.13')


def pins(file, python):
    """Versions by distribution that a file pins for a Python."""
    environment = dict(default_environment(), python_version=python)
    lines = (ROOT / file).read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    chosen = [item for item in found if item.marker is None or item.marker.evaluate(environment)]
    assert len({item.name for item in chosen}) == len(chosen)
    assert all(str(item.specifier).startswith('==') for item in chosen)
    return {item.name.lower(): str(item.specifier)[2:] for item in chosen}


def setup(keyword):
    """An argument of ``setup`` in setup.py, read and not run."""
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
        if isinstance(node, ast.keyword) and node.arg == keyword:
            return ast.literal_eval(node.value)
    raise AssertionError(f'setup.py has no {keyword}')


LISTS = [('constraints.txt', python) for python in PYTHONS] + [('constraints-compiled.txt', '3.11')]


@pytest.mark.parametrize(('file', 'python'), LISTS)
def test_the_pinned_versions_are_accepted(file, python):
    pinned = pins(file, python)
    extras = setup('extras_require')
    needed = setup('install_requires') + [
        text for extra in set(extras) - {'onedl'} for text in extras[extra]
    ]
    for requirement in map(Requirement, needed):
        name = requirement.name.lower()
        if file == 'constraints-compiled.txt':
            name = 'mmcv' if name == 'mmcv-lite' else name
        assert requirement.specifier.contains(pinned[name]), requirement


def test_libraries_are_required_as_modules_and_not_as_distributions():
    """Distributions of several names hold mmcv, mmengine and mmdet: pip must not add another."""
    names = {Requirement(text).name for text in setup('install_requires')}
    assert names == {'torch', 'torchvision', 'numpy', 'safetensors'}
    extras = setup('extras_require')
    for family in ('openmmlab', 'onedl'):
        for requirement in map(Requirement, extras[family]):
            module = re.sub(r'^onedl-|-lite$', '', requirement.name).replace('detection', 'det')
            [least] = [item for item in requirement.specifier if item.operator == '>=']
            assert Version(least.version) >= Version(LEAST[module])


@pytest.mark.parametrize(('file', 'python'), LISTS)
def test_mmdet_takes_the_pinned_mmcv(file, python):
    pinned = pins(file, python)
    version = Version(pinned.get('mmcv') or pinned['mmcv-lite'])
    assert Version('2.0.0rc4') <= version < Version('2.2.0')  # what mmdet 3.3.0 takes
    if pinned['mmdet'] == mmdet.__version__:
        assert mmdet.mmcv_minimum_version == '2.0.0rc4'
        assert mmdet.mmcv_maximum_version == '2.2.0'


def test_only_the_compiled_environment_needs_an_old_setuptools():
    """82 removed ``pkg_resources``, which mmcv imports when it is built."""
    assert Version(pins('constraints-compiled.txt', '3.11')['setuptools']) < Version('82')
    assert Version(pins('constraints.txt', '3.13')['setuptools']) >= Version('82')
    assert "requires = ['setuptools>=64']" in (ROOT / 'pyproject.toml').read_text()
