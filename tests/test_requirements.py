"""Versions that go together: what users of OpenMMLab packages stumble over when they install."""

import ast
import re
from pathlib import Path

import mmdet
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PINS = dict(re.findall(r'^([\w.-]+)==(\S+)$', (ROOT / 'constraints.txt').read_text(), re.MULTILINE))


def requirements():
    """``install_requires`` of setup.py, read and not run."""
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
        if isinstance(node, ast.keyword) and node.arg == 'install_requires':
            return [Requirement(text) for text in ast.literal_eval(node.value)]
    raise AssertionError('setup.py has no install_requires')


@pytest.mark.parametrize('requirement', requirements(), ids=str)
def test_the_pinned_version_is_in_the_accepted_range(requirement):
    assert requirement.specifier.contains(PINS[requirement.name])


def test_mmdet_takes_the_pinned_mmcv_and_setup_refuses_the_one_it_does_not():
    limit = Version(mmdet.mmcv_maximum_version)
    assert Version(mmdet.mmcv_minimum_version) <= Version(PINS['mmcv']) < limit
    accepted = next(item.specifier for item in requirements() if item.name == 'mmcv')
    assert not accepted.contains(limit)


def test_setuptools_still_has_pkg_resources():
    """Removed in 82; mmcv imports it when it is built, and mmengine when it runs."""
    assert Version(PINS['setuptools']) < Version('82')
    assert 'setuptools<81' in (ROOT / 'pyproject.toml').read_text()
    assert 'setuptools==$(pinned setuptools)' in (ROOT / 'tools/make_env.sh').read_text()
