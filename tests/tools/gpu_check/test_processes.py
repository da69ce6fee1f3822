"""Parts that end well, crash, hang or are stopped: what is known of them afterwards."""

import subprocess
import sys
import time

import pytest

from gpu_check.processes import run_in_process

START = (
    'import os, signal, sys, time; '
    """open(sys.argv[1] + '.new', 'w').write('{"one": 1}'); """
    "os.rename(sys.argv[1] + '.new', sys.argv[1]); "
)


def run(tmp_path, script, seconds=60, **environment):
    file = tmp_path / 'part.json'
    command = [sys.executable, '-c', START + script, str(file)]
    result = run_in_process(
        command, file, tmp_path / 'log', seconds=seconds, environment=environment
    )
    assert not file.exists()
    return result


def test_a_part_that_ends(tmp_path):
    result = run(tmp_path, 'print("said")')
    assert result.pop('seconds') >= 0
    assert result == dict(state='done', found=dict(one=1))
    assert (tmp_path / 'log').read_text() == 'said\n'


@pytest.mark.parametrize(
    ('script', 'error'),
    [
        ('sys.exit(3)', 'exit status 3: no output'),
        ('raise ValueError("bad")', 'exit status 1: ValueError: bad'),
        ('os.kill(os.getpid(), signal.SIGABRT)', 'killed by SIGABRT: no output'),
        ('print("half\\n\\n", flush=True); os._exit(7)', 'exit status 7: half'),
    ],
)
def test_a_part_that_crashes_keeps_its_results(tmp_path, script, error):
    run(tmp_path, 'print("a line of the part before")')
    result = run(tmp_path, script)
    assert (result['state'], result['error']) == ('crashed', error)
    assert result['found'] == dict(one=1)


def test_a_part_that_does_not_end_is_stopped_and_keeps_its_results(tmp_path, monkeypatch):
    class Patient(subprocess.Popen):
        """Waits until the part has found something, however busy the machine is."""

        def wait(self, timeout=None):
            while timeout and not (tmp_path / 'part.json').is_file():
                time.sleep(0.01)
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, 'Popen', Patient)
    result = run(tmp_path, 'time.sleep(1000)', seconds=0.3)
    assert (result['state'], result['error']) == ('out of time', 'stopped after 0 s')
    assert result['seconds'] < 1000
    assert result['found'] == dict(one=1)


def test_a_part_that_finds_nothing(tmp_path):
    file = tmp_path / 'part.json'
    file.write_text('{"of": "an earlier run"}')
    command = [sys.executable, '-c', 'pass']
    assert run_in_process(command, file, tmp_path / 'log', seconds=60)['found'] == {}


def test_variables_are_those_of_this_process_and_the_given_ones(tmp_path, monkeypatch):
    monkeypatch.setenv('OF_THIS', 'a')
    run(tmp_path, 'print(os.environ["OF_THIS"], os.environ["GIVEN"])', GIVEN='b')
    assert (tmp_path / 'log').read_text() == 'a b\n'


def test_stopping_by_hand_stops_the_part(tmp_path, monkeypatch):
    processes = []

    class Interrupted(subprocess.Popen):
        def wait(self, timeout=None):
            if self not in processes:
                processes.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, 'Popen', Interrupted)
    result = run(tmp_path, 'time.sleep(1000)')
    assert (result['state'], result['error']) == ('interrupted', 'stopped by hand')
    assert processes[0].returncode not in (None, 0)
