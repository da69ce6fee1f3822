"""Environments of other versions: their lists, and the command that makes and tests them."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    'default': 'constraints.txt',
    'compiled': 'constraints-compiled.txt',
    **{path.stem: f'tools/versions/{path.name}' for path in (ROOT / 'tools/versions').iterdir()},
}
"""Environments that are tested, and the files that define them."""


def pins(name):
    """Versions by distribution; of several for different Pythons, the first."""
    found = {}
    for package, version in re.findall(
        r'^([\w.-]+)==([^\s;]+)', (ROOT / FILES[name]).read_text(), re.MULTILINE
    ):
        found.setdefault(package, version)
    return found


def keyword(name):
    """An argument of ``setup``, read and not run."""
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
        if isinstance(node, ast.keyword) and node.arg == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f'setup.py has no {name}')


def requirements():
    extras = keyword('extras_require').values()
    return [Requirement(text) for part in (keyword('install_requires'), *extras) for text in part]


@pytest.mark.parametrize('name', FILES)
def test_pinned_versions_are_in_the_accepted_ranges(name):
    pinned = pins(name)
    compared = [item for item in requirements() if item.name in pinned]
    assert {'torch', 'torchvision', 'numpy'} <= {item.name for item in compared}
    for item in compared:
        assert item.specifier.contains(pinned[item.name]), item


def test_the_oldest_is_the_least_that_is_accepted():
    pinned = pins('oldest')
    for name in ('torch', 'torchvision', 'mmengine', 'mmdet', 'mmcv-lite'):
        item = next(item for item in requirements() if item.name == name)
        least = min(part.version for part in item.specifier if part.operator == '>=')
        assert (
            Version(pinned[name]).release[: len(Version(least).release)] == Version(least).release
        ), name


def test_first_lines_of_the_lists_name_python_and_the_family():
    accepted = keyword('python_requires')
    extras = keyword('extras_require')
    for name, path in FILES.items():
        if name not in ('default', 'compiled'):
            found = re.match(r'# Python (3\.\d+), (\w+)\n', (ROOT / path).read_text())
            assert Requirement(f'python{accepted}').specifier.contains(found[1])
            assert found[2] in extras


def try_versions(*arguments, **variables):
    return subprocess.run(
        ['bash', str(ROOT / 'tools/try_versions.sh'), *arguments],
        capture_output=True, text=True, env=os.environ | variables,
    )  # fmt: skip


def test_command_that_tries_versions_names_its_environments():
    done = try_versions('--help')
    assert done.returncode == 0
    for name in FILES:
        assert re.search(rf'\b{name}\b', done.stdout), name
    known = 'default, compiled and those of tools/versions: newest oldest onedl'
    for argument, message in {
        'latest': f"unknown environment 'latest'; there are {known}",
        '--fast': "unknown option '--fast'; see --help",
    }.items():
        done = try_versions(argument)
        assert done.returncode == 1
        assert done.stderr == f'[versions] error: {message}\n'


def test_a_python_that_is_missing_is_a_failure_unless_it_may_be(tmp_path):
    for name in ('python3', 'python3.10'):  # stand for none
        (tmp_path / name).write_text('#!/bin/sh\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    machine = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYENV_ROOT': str(tmp_path)}
    done = try_versions('oldest', WKD_DET_HOME=str(tmp_path), **machine)
    assert done.returncode == 1
    message = "error: Python 3.10 is needed for 'oldest' and was not found"
    assert done.stderr == f'[versions] {message}\n'
    assert '| oldest | not made |' in done.stdout
    done = try_versions('--skip-missing', 'oldest', WKD_DET_HOME=str(tmp_path), **machine)
    assert done.returncode == 0
    message = 'oldest: NOT TESTED, there is no Python 3.10 on this machine'
    assert done.stderr == f'[versions] {message}\n'
    assert '| oldest | not tested: no Python 3.10 |' in done.stdout
