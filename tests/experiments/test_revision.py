"""Revisions: the code of a checkout is that of a commit, or a sentence says what differs."""

import subprocess

import pytest

from wkd_det.experiments import revision
from wkd_det.experiments.revision import RevisionError, check_revision


def git(folder, *arguments):
    identity = ['-c', 'user.name=a', '-c', 'user.email=a@b.c', '-c', 'commit.gpgsign=false']
    command = ['git', '-C', str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package, configs, studies and one commit."""
    root = tmp_path / 'checkout'
    for name in (
        'wkd_det/a.py', 'wkd_det/experiments/e.py', 'configs/b.py', 'tools/train.py',
        'tools/compare.py', 'studies/c.py',
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('x = 1\n')
    git(tmp_path, 'init', '-q', str(root))
    git(root, 'add', '.')
    git(root, 'commit', '-qm', 'first')
    monkeypatch.setattr(revision, 'PACKAGE', root / 'wkd_det')
    monkeypatch.chdir(root)
    return root


def refused(root, commit):
    with pytest.raises(RevisionError) as error:
        check_revision(root, commit)
    return str(error.value)


def test_specs_records_and_harness_may_be_younger_than_the_code(checkout):
    commit = git(checkout, 'rev-parse', 'HEAD')
    check_revision(checkout, commit)
    for name in ('studies/c.py', 'wkd_det/experiments/e.py', 'tools/compare.py'):
        (checkout / name).write_text('x = 2\n')
    (checkout / 'studies/results').mkdir()
    (checkout / 'studies/results/r.json').write_text('{}')
    check_revision(checkout, commit)
    git(checkout, 'add', '.')
    git(checkout, 'commit', '-qm', 'records')
    check_revision(checkout, commit)
    check_revision(checkout, commit[:8])


def test_other_code_is_refused_committed_or_not(checkout):
    commit = git(checkout, 'rev-parse', 'HEAD')
    (checkout / 'configs/b.py').write_text('x = 2\n')
    message = (
        f'this is a study of commit {commit}, and here configs/b.py differs from it: git worktree '
        f'add ../study {commit}, and run it there'
    )
    assert refused(checkout, commit) == message
    git(checkout, 'commit', '-qam', 'second')
    assert refused(checkout, commit) == message
    (checkout / 'wkd_det/new.py').write_text('')
    assert 'here configs/b.py, wkd_det/new.py differ from it' in refused(checkout, commit)


def test_unknown_commits_and_other_places_are_refused(checkout, tmp_path, monkeypatch):
    message = f'deadbeef is no commit of a repository in {checkout}: git fetch, or clone it'
    assert refused(checkout, 'deadbeef') == message
    commit = git(checkout, 'rev-parse', 'HEAD')
    monkeypatch.chdir(tmp_path)
    message = f'a study of a commit is run from the root of its checkout: cd {checkout}'
    assert refused(checkout, commit) == message
    message = (
        f'wkd_det is imported from {checkout}, not from the checkout {tmp_path}: set '
        f'PYTHONPATH={tmp_path}'
    )
    assert refused(tmp_path, commit) == message


def test_git_is_needed(checkout, monkeypatch):
    monkeypatch.setenv('PATH', '')
    message = 'a study of a commit needs git, which is not installed'
    assert refused(checkout, 'abc') == message
