"""Results that survive what comes after them."""

import json

import pytest

from gpu_check.notes import Notes, NoTimeLeftError


def test_results_are_in_the_file_after_each_addition(tmp_path):
    notes = Notes(tmp_path / 'part.json')
    notes.add('losses', 'KD', seconds=1.0)
    assert json.loads(notes.path.read_text()) == dict(losses=dict(KD=dict(seconds=1.0)))
    notes.add('losses', 'KD', extra_bytes=2)
    notes.add('losses', 'DKD', seconds=3.0)
    expected = dict(losses=dict(KD=dict(seconds=1.0, extra_bytes=2), DKD=dict(seconds=3.0)))
    assert json.loads(notes.path.read_text()) == notes.found == expected


def test_an_exception_is_a_result_and_the_next_block_runs(capsys):
    notes = Notes()
    with notes.trying('losses', 'KD'):
        notes.add('losses', 'KD', seconds=1.0)
        raise RuntimeError('CUDA error:\n  an illegal memory access')
    with notes.trying('losses', 'DKD'):
        raise ValueError
    assert notes.found['losses'] == dict(
        KD=dict(seconds=1.0, error='RuntimeError: CUDA error: an illegal memory access'),
        DKD=dict(error='ValueError'),
    )
    assert 'Traceback' in capsys.readouterr().err  # of the part, which the log keeps


def test_a_long_message_is_cut():
    notes = Notes()
    with notes.trying('one'):
        raise RuntimeError('x' * 1000)
    assert notes.found['one']['error'] == 'RuntimeError: ' + 'x' * 300


def test_stopping_by_hand_is_no_result():
    notes = Notes()
    with pytest.raises(KeyboardInterrupt), notes.trying('one'):
        raise KeyboardInterrupt
    assert notes.found == {}


def test_what_there_is_no_time_for_is_left_out(capsys):
    notes = Notes(seconds=-1)
    assert notes.left < 0
    with pytest.raises(NoTimeLeftError):
        notes.check()
    with notes.trying('one'):
        notes.check()
    assert notes.found == dict(one=dict(error='left out: no time was left'))
    assert capsys.readouterr().err == ''


def test_seconds_that_are_wanted():
    notes = Notes(seconds=100)
    notes.check(50)
    with pytest.raises(NoTimeLeftError, match='^left out: no time was left$'):
        notes.check(200)
