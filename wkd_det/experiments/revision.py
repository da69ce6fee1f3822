"""Revision of a study: its code is that of one commit, or nothing is trained."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wkd_det.experiments.fingerprint import PACKAGE
from wkd_det.ops.checks import listed

CODE = (
    'wkd_det',
    ':(exclude)wkd_det/experiments',
    'wkd_det_standin',
    'wkd_det_standin.pth',
    'configs',
    'tools/train.py',
    'tools/test.py',
    'tools/mmdet_tool.py',
)
"""Paths whose content decides what a run computes. Specs, records and documents may be younger, and
so may the harness: what it asks for is in the config, whose hash the record holds."""


class RevisionError(Exception):
    """The code here is not that of the study's commit."""


def check_revision(root: Path, commit: str) -> None:
    """Refuse a checkout whose code differs from that of a commit.

    Args:
        root: Root of the checkout whose scripts train.
        commit: Name of the commit.

    Raises:
        RevisionError: If the commit is not known here, files differ from it, or the package that
            is imported is another one.
    """
    root = root.resolve()
    if PACKAGE.resolve().parent != root:
        raise RevisionError(
            f'wkd_det is imported from {PACKAGE.parent}, not from the checkout {root}: set '
            f'PYTHONPATH={root}'
        )
    if Path.cwd().resolve() != root:
        raise RevisionError(f'a study of a commit is run from the root of its checkout: cd {root}')
    if _git(root, 'cat-file', '-e', f'{commit}^{{commit}}').returncode != 0:
        raise RevisionError(
            f'{commit} is no commit of a repository in {root}: git fetch, or clone it'
        )
    changed = _lines(root, 'diff', '--name-only', commit, '--', *CODE)
    changed += _lines(root, 'ls-files', '--others', '--exclude-standard', '--', *CODE)
    if changed:
        raise RevisionError(
            f'this is a study of commit {commit}, and here {listed(changed, 4)} '
            f'{"differs" if len(changed) == 1 else "differ"} from it: git worktree add '
            f'../study {commit}, and run it there'
        )


def _lines(root: Path, *arguments: str) -> list[str]:
    done = _git(root, *arguments)
    if done.returncode != 0:
        raise RevisionError(f'git {" ".join(arguments)}: {done.stderr.strip()}')
    return done.stdout.splitlines()


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(
            ['git', '-C', str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RevisionError('a study of a commit needs git, which is not installed') from None
