"""Shards and locks: every run has one owner, and no two processes do the same."""

import os
import subprocess
import sys

import pytest

from wkd_det.experiments.shards import LockedError, Shard, locked, read_shard

NAMES = [f'final/method_{index % 7}/seed_{index}' for index in range(200)]


@pytest.mark.parametrize('count', [1, 2, 5])
def test_shards_hold_every_run_once(count):
    shares = [
        {name for name in NAMES if Shard(index + 1, count).owns(name)} for index in range(count)
    ]
    assert set.union(*shares) == set(NAMES)
    assert sum(map(len, shares)) == len(NAMES)
    assert min(map(len, shares)) > 0.6 * len(NAMES) / count


def test_the_owner_is_the_same_on_every_machine():
    assert [Shard(1, 4).owner(name) for name in NAMES[:6]] == [2, 2, 4, 2, 4, 2]


def test_shards_are_read():
    assert read_shard('2/3') == Shard(2, 3)
    for text in ('0/3', '4/3', '1', '1/0', 'a/b', '-1/3'):
        message = f"^a shard must be I/N with 1 <= I <= N, got '{text}'$"
        with pytest.raises(ValueError, match=message):
            read_shard(text)


def test_a_lock_is_held_once_and_goes_with_the_file(tmp_path):
    path = tmp_path / 'final/a/seed_1.json'
    lock = path.with_name('.seed_1.json.lock')
    with locked(path):
        with pytest.raises(LockedError, match=f'^another process is at work on {path}$'):
            locked(path).__enter__()
        assert lock.is_file()
    assert lock.is_file()  # the run was interrupted: the next one takes the lock again
    with locked(path):
        path.write_text('{}')
    assert not lock.exists()


def test_a_process_that_is_left_behind_keeps_the_lock(tmp_path):
    path = tmp_path / 'seed_1.json'
    with locked(path) as descriptor:
        child = subprocess.Popen(
            [sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, pass_fds=[descriptor]
        )
    with pytest.raises(LockedError):
        locked(path).__enter__()
    child.communicate(os.linesep.encode())
    with locked(path):
        pass
