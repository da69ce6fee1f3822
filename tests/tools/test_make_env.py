"""The set-up of the environment, with a Python that only writes down what is asked of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from commands import HANGS, ROOT

SCRIPT = ROOT / 'tools/make_env.sh'
# Makes environments that consist of itself, and installs by noting it. VERSION is its version;
# a file `stuck` in its home lets an installation hang, a file `broken` lets it fail.
PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$HOME_OF_STUB/calls"
case "$*" in
    *ensurepip*) [[ "$*" == *"(3, $VERSION)"* || "$*" == *"(3, 10) <= "*"(3, 13)"* ]] ;;
    *sys.executable*) echo "$0" ;;
    *platform*) echo "3.$VERSION" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"pip "*)
        echo "Collecting torch"
        echo "  Downloading torch-2.whl (900 MB)"
        if [ -f "$HOME_OF_STUB/broken" ]; then echo "ERROR: no space left"; exit 1; fi
        while [ -f "$HOME_OF_STUB/stuck" ]; do sleep 0.05; done
        echo "Installing collected packages: torch" ;;
esac
"""


@pytest.fixture
def home(tmp_path):
    """The folder in which environments and the notes of the stub are."""
    python = tmp_path / 'python3'
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def command(home, **variables):
    environment = dict(
        os.environ, PYTHON=str(home / 'python3'), WKD_DET_HOME=str(home / 'environments'),
        HOME_OF_STUB=str(home), VERSION='12',
    )  # fmt: skip
    environment.pop('MMCV', None)
    return dict(
        args=['bash', str(SCRIPT)], env=environment | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def make(home, code=0, **variables):
    """Set up; return the path that is printed, what is said, and what was asked of Python."""
    (home / 'calls').write_text('')
    done = subprocess.run(**command(home, **variables), check=False, timeout=HANGS)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr, (home / 'calls').read_text()


def installs(calls):
    return sum('pip' in call and 'install' in call for call in calls.splitlines())


def test_prints_the_path_alone_and_names_what_is_happening(home):
    path, said, calls = make(home)
    assert path.endswith('/bin/python\n')
    assert len(path.splitlines()) == 1
    python = Path(path.strip())
    assert python.is_file()
    assert (python.parents[1] / 'complete').is_file()
    assert '[env] package 1: Downloading torch-2.whl (900 MB)\n' in said
    assert '[env] unpacking 1 packages\n' in said
    assert installs(calls) == 3  # pip itself, all that is pinned, and this package
    assert '--no-deps --no-build-isolation --editable' in calls


def test_a_finished_environment_is_used_again(home):
    first = make(home)[0]
    path, said, calls = make(home)
    assert path == first
    assert said == ''
    assert installs(calls) == 0


def test_each_kind_and_each_python_has_its_own(home):
    paths = [make(home)[0], make(home, VERSION='13')[0]]
    wheels = home / 'environments/mmcv-2.1.0-torch-2.9.1-cp311-Linux-x86_64'
    wheels = wheels.with_name(wheels.name.replace('x86_64', os.uname().machine))
    wheels.mkdir()
    (wheels / 'mmcv-2.1.0-cp311.whl').touch()  # compiled before
    path, said, _ = make(home, MMCV='compiled', VERSION='11')
    assert '[env] mmcv: reusing ' in said
    assert len({*paths, path}) == 3


def test_a_killed_set_up_is_made_again(home):
    (home / 'calls').write_text('')
    (home / 'stuck').touch()
    process = subprocess.Popen(**command(home), start_new_session=True)
    deadline = time.monotonic() + HANGS
    while '-m pip' not in (home / 'calls').read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # what it has started lives on, and ends by itself
    process.wait()
    (home / 'stuck').unlink()
    process.communicate(timeout=HANGS)
    [unfinished] = (home / 'environments').glob('env-*[0-9a-f]')
    (unfinished / 'rest').touch()
    path, said, calls = make(home)
    assert f'[env] {unfinished} was not finished and is made again\n' in said
    assert Path(path.strip()).parents[1] == unfinished
    assert not (unfinished / 'rest').exists()
    assert (unfinished / 'complete').is_file()
    assert installs(calls) == 3


def test_a_second_call_waits_for_the_first(home):
    (home / 'calls').write_text('')
    (home / 'stuck').touch()
    first = subprocess.Popen(**command(home))
    while '-m pip' not in (home / 'calls').read_text():
        time.sleep(0.05)
    second = subprocess.Popen(**command(home))
    assert 'another set-up is at work' in second.stderr.readline()
    (home / 'stuck').unlink()
    paths = [process.communicate(timeout=HANGS)[0] for process in (first, second)]
    assert paths[0] == paths[1] != ''
    assert installs((home / 'calls').read_text()) == 3


def test_a_failed_installation_shows_its_end_and_is_made_again(home):
    (home / 'broken').touch()
    path, said, _ = make(home, code=1)
    assert path == ''
    assert 'ERROR: no space left' in said
    assert '[env] error: pip failed; its last lines stand above' in said
    (home / 'broken').unlink()
    assert 'was not finished and is made again' in make(home)[1]


def test_a_python_without_pinned_versions_is_refused(home):
    path, said, _ = make(home, code=1, MMCV='compiled')
    assert path == ''
    assert (
        '[env] error: Python 3.11 with venv is needed for the pinned versions and none of' in said
    )
    assert 'MMCV must be lite or compiled, got' in make(home, code=1, MMCV='full')[1]
