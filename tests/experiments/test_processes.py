"""Processes of trainings: the progress in their output, and what they have used."""

import sys

from wkd_det.experiments.processes import ProcessGroup, read_progress

ITERATION = (
    '2026/01/02 03:04:05 - mmengine - INFO - Iter(train) [ 50/500]  base_lr: 1.0e-03 lr: 1.0e-03  '
    'eta: 1 day, 0:03:04  time: 0.4  data_time: 0.1  loss: 1.2345  loss_cls: 0.5'
)
EPOCH = (
    '2026/01/02 03:04:05 - mmengine - INFO - Epoch(train)   [2][ 5/40]  lr: 1.0e-03  '
    'eta: 0:00:04  time: 0.4  loss: 0.5'
)


def test_progress_is_read():
    progress = read_progress(ITERATION)
    assert (progress.step, progress.total) == (50, 500)
    assert (progress.loss, progress.remaining) == ('1.2345', '1 day, 0:03:04')
    progress = read_progress(EPOCH, max_epochs=3)
    assert (progress.step, progress.total, progress.remaining) == (45, 120, '0:00:04')
    assert read_progress('Iter(val) [ 10/16]  eta: 0:00:04  time: 0.1') is None


def test_a_process_is_known_by_what_it_has_used():
    """The children of a process count as well, once it has waited for them."""
    group = ProcessGroup()
    work = 'sum(range(10 ** 6))'
    child = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "{work}"]); print(1)'
    process = group.start([sys.executable, '-c', child])
    assert process.stdout.read() == '1\n'
    usage = group.wait(process)
    assert process.returncode == 0
    assert 0 < usage.cpu_seconds < 60
    assert usage.memory > 1  # a child starts with the pages of its parent, however many
