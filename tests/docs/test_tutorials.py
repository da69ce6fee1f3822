"""Tutorials are run: their files are written, their commands run, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / 'docs/tutorials'
COPIED = ['wkd_det', 'wkd_det_standin', 'configs', 'tools', 'pyproject.toml', 'setup.py']
COPIED += ['README.md']
# What the tests of a tutorial build on.
TESTED = ['tests/conftest.py', 'tests/detection', 'tests/support']

BLOCK = re.compile(
    r'(?P<before>[^\n]*(?:\n[^\n]+)*)\n\n```(?P<kind>\w+)\n(?P<code>.*?)^```$', re.M | re.S
)
NEW_FILE = re.compile(r'(?:^|\n|\. )`(?P<path>[\w./-]+\.\w+)`:$')
LINES = re.compile(r'In `(?P<path>[\w./-]+)`,\s+after\s+`(?P<anchor>[^`]+)`:$')


@dataclass
class Copy:
    """A copy of the repository in which a tutorial is followed."""

    root: Path
    files: set[str] = field(default_factory=set)

    def follow(self, name: str, *, commands: bool = True) -> None:
        """Do all that a tutorial says."""
        text = (TUTORIALS / name).read_text(encoding='utf-8')
        sessions = []
        for block in BLOCK.finditer(text):
            before, kind, code = block['before'], block['kind'], block['code']
            new, lines = NEW_FILE.search(before), LINES.search(before)
            if new:
                self._write(new['path'], code)
            elif lines:
                self._insert(lines['path'], lines['anchor'], code)
            elif kind == 'bash' and commands:
                for line in code.replace('\\\n', ' ').splitlines():
                    self.run(line.split('  #')[0].split())
            elif '>>>' in code:
                sessions.append(code)
        if sessions:  # in one process, as each imports torch
            (self.root / 'session.txt').write_text('\n'.join(sessions))
            self.run(['python', '-m', 'doctest', 'session.txt'])
        written = sorted(path for path in self.files if path.endswith('.py'))
        if written:
            self.run(['python', '-m', 'ruff', 'check', '--ignore', 'D100', *written])
            self.run(['python', '-m', 'ruff', 'format', '--check', *written])

    def _write(self, path: str, code: str) -> None:
        assert not (self.root / path).exists(), f'{path} is there already'
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(code)
        self.files.add(path)

    def _insert(self, path: str, anchor: str, code: str) -> None:
        lines = (self.root / path).read_text().splitlines(keepends=True)
        assert lines.count(f'{anchor}\n') == 1, f'{path} must have the line {anchor!r} once'
        lines.insert(lines.index(f'{anchor}\n') + 1, code)
        (self.root / path).write_text(''.join(lines))
        self.files.add(path)

    def run(self, command: list[str]) -> str:
        """Output of a command, which must succeed."""
        command = [sys.executable if word == 'python' else word for word in command]
        environment = {**os.environ, 'PYTHONPATH': str(self.root), 'PYTHONWARNINGS': 'ignore'}
        done = subprocess.run(
            command, cwd=self.root, env=environment, text=True, capture_output=True
        )
        assert done.returncode == 0, f'{" ".join(command)}\n{done.stdout}\n{done.stderr}'
        return done.stdout


@pytest.fixture
def copy(tmp_path):
    for name in [*COPIED, *TESTED]:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)  # with what Python has compiled
        else:
            shutil.copy(source, target)
    return Copy(tmp_path)


def test_first_loss_touches_four_files(copy):
    copy.follow('first_loss.md')
    assert len(copy.files) == 4


def test_first_tap_touches_four_files(copy):
    copy.follow('first_tap.md')
    assert len(copy.files) == 4


def test_own_detector_is_one_file_and_three_in_the_repository(copy):
    copy.follow('own_detector.md')
    assert copy.files == {
        'my_detectors.py',
        'try_it.py',
        'wkd_det/detection/detectors.py',
        'wkd_det/testing/detectors.py',
        'tests/detection/test_detectors.py',
    }


@pytest.mark.parametrize('name', ['class_costs.md', 'transport_plan.md'])
def test_what_is_printed_is_printed(copy, name):
    copy.follow(name)


@pytest.mark.parametrize(
    ('name', 'configs'),
    [
        ('two_detectors.md', ['teacher', 'student', 'distilled']),
        ('cifar100.md', ['teacher', 'plain', 'wkd_l']),
    ],
)
def test_configs_are_built(copy, name, configs):
    """Their data and teachers are not here, so nothing is trained."""
    copy.follow(name)
    (copy.root / 'build.py').write_text(
        'import sys\n'
        'from mmdet.registry import MODELS\n'
        'from mmengine.config import Config\n'
        'from mmengine.registry import init_default_scope\n'
        "init_default_scope('mmdet')\n"
        'for path in sys.argv[1:]:\n'
        '    config = Config.fromfile(path)\n'
        "    terms = config.model.get('distill', {})\n"
        '    model = MODELS.build(config.model)\n'
        '    assert not terms or list(model.distiller.terms) == list(terms)\n'
    )
    copy.run(['python', 'build.py', *(f'my_configs/{config}.py' for config in configs)])
