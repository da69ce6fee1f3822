"""Time that is left, from what runs have taken."""

from types import SimpleNamespace
from typing import ClassVar

import pytest

from wkd_det.experiments import progress
from wkd_det.experiments.progress import Clock


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress, 'processor_name', lambda: 'abacus')
    return Clock(jobs=2)


@pytest.fixture
def now(monkeypatch):
    time = SimpleNamespace(value=0.0)
    monkeypatch.setattr(progress, 'time', SimpleNamespace(monotonic=lambda: time.value))
    return time


class Run:
    """A run of ten steps."""

    about: ClassVar = dict(method='kd')
    length = 10


def record(method, cpu, *, steps=10, seconds=None, processor='abacus', **changes):
    return dict(
        method=method,
        cpu_seconds=cpu,
        seconds=cpu if seconds is None else seconds,
        steps=steps,
        machine=dict(processor=processor),
        **changes,
    )


def test_runs_take_what_those_of_their_method_have_taken(clock):
    assert clock.left([('kd', 5)]) == '?'
    clock.learn([record('kd', 100.0), record('kd', 300.0), record('wkd', 40.0)])
    assert clock.left([('kd', 10)]) == '0:01:40'  # the median of 10 and 30 s a step, by 2 jobs
    assert clock.left([('wkd', 10)]) == '0:00:20'
    assert clock.left([('new', 10)]) == '0:00:50'  # the median of all: 10 s a step
    assert clock.left([('kd', 10), ('wkd', 100)]) == '0:05:00'
    assert clock.left([]) == '0:00:00'


def test_seconds_of_this_machine(clock):
    here = record('kd', 100.0, seconds=200.0)
    there = record('kd', 100.0, seconds=900.0, processor='loom')
    failed = record('kd', 1.0, failed='inf')
    clock.learn([here, there, failed])
    assert clock.left([('kd', 10)]) == '0:01:40'  # 10 CPU s a step, twice as long, by 2 jobs


def test_runs_at_work_count_by_their_share_and_lend_their_pace(clock, now):
    run = Run()
    clock.step(run, 0.2)  # it goes on from here
    assert clock.left([]) == '?'
    now.value = 6.0
    clock.step(run, 0.5)
    assert clock.left([]) == '0:00:05'  # 5 steps of 2 s, by 2 jobs
    assert clock.left([('other', 10)]) == '0:00:15'
    clock.end(run)
    assert clock.left([]) == '0:00:00'
