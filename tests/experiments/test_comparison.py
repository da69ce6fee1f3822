"""Comparisons: what is made again. Whole ones are in tests/tools/test_compare.py."""

import os

from specs import write_spec
from wkd_det.experiments.comparison import is_made
from wkd_det.experiments.spec import read_spec


def test_what_a_command_makes_is_made_again_when_it_is_outdated(tmp_path):
    made, needed = tmp_path / 'made', tmp_path / 'needed'
    entry = dict(name='x', command=['python'], makes=str(made), needs=[str(needed)])
    (entry,) = read_spec(write_spec(tmp_path, prepare=[entry])).prepare
    assert not is_made(entry)
    needed.touch()
    made.touch()
    os.utime(needed, (1, 1))
    assert is_made(entry)
    os.utime(made, (0, 0))
    assert not is_made(entry)
