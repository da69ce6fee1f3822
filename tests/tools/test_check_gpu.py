"""The command ``check_gpu.py``: its arguments, its files, and one part of it in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import check_gpu
from commands import ENVIRONMENT, HANGS, ROOT, run_apart

TRIAL = ('tools/check_gpu.py', '--device', 'cpu', '--tiny', '--out')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--device', 'cpu'], '--device cpu takes hours at full size: add --tiny'),
        (['--device', 'gpu'], "--device must be cuda, cuda:N or cpu, but got 'gpu'"),
        (['--device', 'meta'], "--device must be cuda, cuda:N or cpu, but got 'meta'"),
        (['--seconds', '5'], '--seconds must be at least 60, but got 5'),
        (['--seconds', 'nan'], '--seconds must be at least 60, but got nan'),
        (['--parts', 'speed'], 'argument --parts: invalid choice: '),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        check_gpu.parse_args([*arguments, '--out', str(tmp_path)])
    assert stop.value.code == 2
    assert f'error: {message}' in capsys.readouterr().err.splitlines()[-1]


def test_time_is_less_than_six_minutes_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert check_gpu.parse_args(['--out', str(tmp_path)]).seconds == 350
    given = ['--out', str(tmp_path), '--seconds', '90']
    assert check_gpu.parse_args(given).seconds == 90


def test_a_gpu_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for name in ('cuda', 'cuda:1'):
        assert check_gpu.parse_args(['--device', name, '--out', str(tmp_path)]).device == name
    with pytest.raises(SystemExit):
        check_gpu.parse_args(['--device', 'cuda:2', '--out', str(tmp_path)])
    expected = (
        f'--device cuda:2 is not there: torch {torch.__version__} finds 2 GPUs; '
        '--device cpu --tiny tries the tool'
    )
    assert expected in capsys.readouterr().err


def test_a_place_that_is_no_folder(tmp_path, capsys):
    path = tmp_path / 'file'
    path.write_text('')
    with pytest.raises(SystemExit):
        check_gpu.parse_args(['--device', 'cpu', '--tiny', '--out', str(path)])
    expected = f'--out must be a folder to write to, but {path}: File exists'
    assert expected in capsys.readouterr().err


def command(tmp_path, monkeypatch, found, *arguments):
    """Exit code, seconds of each part, and files of a run whose parts find what is given."""
    seconds = {}

    def start_part(args, name, limit):
        seconds[name] = limit
        return dict(dict(state='done', seconds=1.0, found={}), **found.get(name, {}))

    monkeypatch.setattr(check_gpu, 'start_part', start_part)
    with pytest.raises(SystemExit) as stop:
        check_gpu.main(['--device', 'cpu', '--tiny', '--out', str(tmp_path), *arguments])
    results = json.loads((tmp_path / 'gpu.json').read_text())
    return stop.value.code, seconds, results, (tmp_path / 'gpu.md').read_text()


def test_all_parts(tmp_path, monkeypatch, capsys):
    code, seconds, results, text = command(tmp_path, monkeypatch, {})
    assert code == 0
    assert list(seconds) == list(results['parts']) == list(check_gpu.PARTS)
    # Nothing takes time here, so each part may have all that those before it have left.
    assert seconds['detectors'] == pytest.approx(1800, abs=60)
    assert seconds['numerics'] < 300
    assert [one['verdict'] for one in results['predictions']] == ['not measured'] * 5
    output = capsys.readouterr().out
    assert f'all of it: {tmp_path / "gpu.md"}' in output
    assert text.split('## Predictions')[0] in output


def test_a_crash_is_the_exit_code_and_the_next_part_runs(tmp_path, monkeypatch):
    crash = dict(losses=dict(state='crashed', error='killed by SIGSEGV: no output'))
    code, seconds, results, text = command(
        tmp_path, monkeypatch, crash, '--parts', 'losses', 'detectors'
    )
    assert code == 1
    assert list(seconds) == ['losses', 'detectors']
    assert results['parts']['detectors']['state'] == 'done'
    assert '| losses | crashed | 1.0 | killed by SIGSEGV: no output |' in text


def test_stopping_by_hand_keeps_what_is_there(tmp_path, monkeypatch):
    stop = dict(losses=dict(state='interrupted', error='stopped by hand'))
    code, seconds, results, _ = command(tmp_path, monkeypatch, stop)
    assert code == f'interrupted; what was found is in {tmp_path / "gpu.md"}'
    assert list(seconds) == ['numerics', 'losses']
    states = {name: part['state'] for name, part in results['parts'].items()}
    assert states == dict(
        numerics='done', losses='interrupted', classifiers='not started', detectors='not started'
    )


def test_a_part_in_its_process(tmp_path):
    output = run_apart(*TRIAL, tmp_path, '--parts', 'losses')
    results = json.loads((tmp_path / 'gpu.json').read_text())
    part = results['parts']['losses']
    assert part['state'] == 'done'
    assert part['found']['facts']['torch'] == torch.__version__
    assert '| losses | done |' in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['gpu.json', 'gpu.log', 'gpu.md']


@pytest.mark.slow  # a minute of one core
def test_the_whole_command_on_a_cpu(tmp_path):
    run_apart(*TRIAL, tmp_path)
    results = json.loads((tmp_path / 'gpu.json').read_text())
    assert {part['state'] for part in results['parts'].values()} == {'done'}
    text = (tmp_path / 'gpu.md').read_text()
    assert 'ERROR' not in text
    assert 'OTHER BITS' not in text


@pytest.mark.slow
def test_ctrl_c_in_the_middle(tmp_path):
    process = subprocess.Popen(
        [sys.executable, *TRIAL, str(tmp_path)],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + HANGS
    partial = tmp_path / 'numerics.part.json'
    while not (partial.is_file() and 'KDLoss' in partial.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, 2)  # SIGINT, to the whole group as Ctrl-C sends it
    output = process.communicate(timeout=HANGS)[0]
    assert process.returncode == 1
    assert output.strip().splitlines()[-1].startswith('interrupted; what was found is in')
    assert 'Traceback' not in output
    numerics = json.loads((tmp_path / 'gpu.json').read_text())['parts']['numerics']
    assert 'KDLoss' in numerics['found']['losses']
