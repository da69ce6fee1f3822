"""Parts at small sizes on a CPU: all that a report needs is there. Times mean nothing."""

from __future__ import annotations

import pytest
import torch

from benchmarks.memory import peak_extra_bytes
from gpu_check import steps
from gpu_check.losses import check_losses
from gpu_check.measuring import Meter
from gpu_check.names import BOTH, KD, PLAIN, WKD_F, WKD_L, found_in
from gpu_check.notes import Notes
from gpu_check.steps import FORMS, check_classifiers, check_detectors, compare

CPU = torch.device('cpu')
MEASURES = {'seconds', 'extra_bytes', 'operators', 'waits'}


@pytest.fixture
def meter():
    return Meter(CPU, brief=True)


def errors(found):
    """Every error that was noted, wherever."""
    if not isinstance(found, dict):
        return []
    own = [found['error']] if 'error' in found else []
    return own + [text for below in found.values() for text in errors(below)]


def test_losses(meter):
    notes = Notes()
    check_losses(notes, meter)
    logits, maps, pyramid = notes.found.values()
    assert errors(notes.found) == []
    assert set(logits) == {KD, 'DKD', WKD_L, 'WKD-L, 20 rounds', 'WKD-L, direct form'}
    assert {WKD_F, 'WKD-F, cell by cell', 'L2 (FitNet)'} < set(maps)
    assert set(pyramid) == {'ReviewKD'}
    for rows in (logits, maps, pyramid):
        for one in rows.values():
            assert MEASURES | {'queued_seconds'} == set(one)
            assert min(one['seconds'], one['queued_seconds'], one['operators']) > 0
    assert logits['WKD-L, 20 rounds']['operators'] > logits[WKD_L]['operators']
    assert logits[KD]['extra_bytes'] < logits['WKD-L, direct form']['extra_bytes']


@pytest.mark.parametrize(
    ('check', 'batch'), [(check_classifiers, 'batch 8'), (check_detectors, 'batch 2')]
)
def test_steps(meter, check, batch):
    notes = Notes()
    check(notes, meter)
    assert errors(notes.found) == []
    assert notes.found['setup']['precision'] == 'float32'
    trained = found_in(notes.found, 'steps', batch)
    assert list(trained) == [PLAIN, KD, WKD_L, WKD_F, BOTH]
    formed = found_in(notes.found, 'forms', batch)
    assert list(formed) == [PLAIN, *FORMS]
    for rows in (trained, formed):
        for one in rows.values():
            assert MEASURES | {'ratio'} == set(one)
            assert one['seconds'] > 0
        assert rows[PLAIN]['ratio'] == (1, 1, 1)
    operators = [trained[name]['operators'] for name in (PLAIN, KD, WKD_L, BOTH)]
    assert operators == sorted(operators)


def test_what_fails_is_noted_and_the_others_go_on(meter):
    def broken():
        raise RuntimeError('CUDA error')

    def quick():
        return torch.ones(3).add(1)

    notes = Notes()
    compare(
        notes, meter, ('steps', 'batch 2'),
        {'plain': broken, 'KD': quick, 'WKD-L': quick}, calls=1, seconds=0,
    )  # fmt: skip
    rows = notes.found['steps']['batch 2']
    assert rows['plain'] == dict(error='RuntimeError: CUDA error')
    assert rows['KD']['ratio'] is None  # there is nothing to compare with
    assert rows['KD']['seconds'] > 0
    assert rows['WKD-L']['operators'] == 2


def test_rounds_fill_the_time_that_there_is():
    calls = []
    runs = {'plain': lambda: calls.append('plain'), 'KD': lambda: calls.append('KD')}
    compare(Notes(), Meter(CPU), ('steps',), runs, calls=3, seconds=1e9)
    tried, timed, watched = 2 * 3, (5 + 1) * 3, 3  # memory takes two calls, operators one
    assert calls.count('plain') == calls.count('KD') == tried + timed + watched
    assert calls[: 2 * tried] == ['plain'] * tried + ['KD'] * tried


def test_no_batch_is_begun_without_time(monkeypatch):
    monkeypatch.setattr(steps, 'CLASSIFIERS', steps._TINY_CLASSIFIERS)
    notes = Notes(seconds=-1)
    steps.check_classifiers(notes, Meter(CPU))
    expected = {'batch 8': dict(error='left out: no time was left')}
    assert notes.found['steps'] == notes.found['forms'] == expected


def test_seconds_are_those_of_one_call(meter):
    counted = []
    assert meter.latency(lambda: counted.append(1)) > 0
    assert len(counted) == 2  # one is not timed
    meter.queued(lambda: counted.append(1), 5)()
    assert len(counted) == 7
    assert Meter(CPU).throughput(lambda: None) < Meter(CPU).latency(lambda: None) + 1


def test_memory_is_that_of_the_device():
    def run():
        torch.ones(2**18)

    assert Meter(CPU).extra_bytes(run) == peak_extra_bytes(run, CPU) >= 2**20
