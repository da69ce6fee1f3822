"""The factor of a term, step by step."""

import math

import pytest

from wkd_det.distillation.schedule import TermSchedule


def course(last, **options):
    schedule = TermSchedule(**options)
    schedule.check(last)
    return [schedule.at(step, last) for step in range(1, last + 1)]


@pytest.mark.parametrize(('begin', 'last'), [(150, 240), (0, 100), (30, 100)])
def test_decay_of_the_reference(begin, last):
    """Its three presets: 1 until epoch e0, then (1 + cos(pi (e - e0) / (E - e0))) / 2."""
    values = course(last, decay_from=begin)
    assert values[:begin] == [1.0] * begin
    for epoch in range(begin + 1, last + 1):
        expected = 0.5 * (1 + math.cos(math.pi * (epoch - begin) / (last - begin)))
        assert values[epoch - 1] == pytest.approx(expected, abs=1e-15)
    assert values[-1] == 0.0  # exactly: the teacher does not run in the last epoch
    assert values[(begin + last) // 2 - 1] == pytest.approx(0.5)


def test_each_part_by_hand():
    assert course(3) == [1, 1, 1]
    assert course(3, factor=0.3) == [0.3, 0.3, 0.3]
    assert course(5, warm_up=4) == [0.25, 0.5, 0.75, 1, 1]
    assert course(5, warm_up=4, ramp='cosine') == pytest.approx(
        [(1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1, 1]
    )
    assert course(5, stop=2) == [1, 1, 0, 0, 0]
    assert course(2, stop=0) == [0, 0]
    assert course(5, decay_from=1, decay_to=3) == pytest.approx([1, 0.5, 0, 0, 0])
    assert course(5, decay_from=1, decay_to=3)[2] == 0  # exactly


def test_parts_multiply():
    values = course(6, factor=2, warm_up=2, decay_from=2, stop=5)
    decay = [0.5 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3)]
    assert values == pytest.approx([1, 2, *(2 * part for part in decay), 0])


def test_the_ramp_of_ctkd():
    """Its lambda is -(1 - cos(pi min(e, E) / E)) / 2 = (1 + cos(pi min(e, E) / E)) / 2 - 1."""
    for step, value in enumerate(course(14, warm_up=10, ramp='cosine'), start=1):
        reference = (1 + math.cos(math.pi * min(step, 10) / 10)) / 2 - 1
        assert value == pytest.approx(-reference, abs=1e-15)


def test_a_decay_may_end_after_training():
    assert course(4, decay_from=0, decay_to=8)[-1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(factor=-1), 'factor must not be negative, got -1'),
        (dict(factor=math.nan), 'factor must not be negative, got nan'),
        (dict(warm_up=-1), 'warm_up must be a number of steps from 0 on, got -1'),
        (dict(warm_up=None), 'warm_up must be a number of steps from 0 on, got None'),
        (dict(decay_from=0.5), 'decay_from must be a number of steps from 0 on, got 0.5'),
        (dict(stop=True), 'stop must be a number of steps from 0 on, got True'),
        (dict(ramp='sine'), r"ramp must be one of \('linear', 'cosine'\), got 'sine'"),
        (dict(decay_to=5), 'decay_to=5 needs decay_from'),
        (dict(decay_from=5, decay_to=5), 'before the end of the decay, step 5, got 5'),
    ],
)
def test_wrong_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        TermSchedule(**options)


def test_a_decay_without_room():
    schedule = TermSchedule(decay_from=150)
    schedule.check(151)
    with pytest.raises(ValueError, match='before the end of the decay, step 100, got 150'):
        schedule.check(100)
