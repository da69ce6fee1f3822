"""2,000 steps of a tiny distillation, killed every few hundred: it arrives, and memory is flat."""

import re
import subprocess
import sys
import time

import psutil
import pytest
import torch

import tiny_training
from commands import ENVIRONMENT, HANGS, ROOT

STEPS, INTERVAL = 2000, 100
KILLS = (330, 710, 1080, 1490, 1790)
STEP = re.compile(r'Iter\(train\) +\[ *(\d+)/\d+\].*\bloss: (\S+)')
# Allocators and caches settle within this many steps of a process; from there on memory may grow
# by the noise of scenes of different numbers of boxes, far below one copy of anything per step.
SETTLED, GROWTH = 100, 30e6


def run_until(folder, kill_at):
    """Train, going on from the last checkpoint; give each logged step, its loss and the memory."""
    process = subprocess.Popen(
        [sys.executable, tiny_training.__file__, str(folder),
         '--steps', str(STEPS), '--interval', str(INTERVAL)],
        cwd=ROOT, env=dict(ENVIRONMENT, **tiny_training.SCRIPT),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    watched, seen, tail = psutil.Process(process.pid), [], []
    for line in process.stdout:
        tail = [*tail[-20:], line]
        found = STEP.search(line)
        if found:
            seen.append((int(found[1]), float(found[2]), watched.memory_info().rss))
            if kill_at is not None and seen[-1][0] >= kill_at:
                process.kill()
                break
    process.stdout.close()
    code = process.wait(timeout=HANGS)
    assert (code == 0) == (kill_at is None), ''.join(tail)
    return seen


@pytest.mark.slow
def test_soak(tmp_path):
    tiny_training.prepare(tmp_path, images=16)
    began = time.monotonic()
    runs = [run_until(tmp_path, kill_at) for kill_at in (*KILLS, None)]
    report = []
    for run, before in zip(runs, (0, *KILLS)):
        first = run[0][0]
        assert before - INTERVAL < first <= before + 10  # went on from the last checkpoint
        settled = [memory for step, _, memory in run if step > first + SETTLED]
        growth = max(settled) - settled[0]
        report.append((first, run[-1][0], settled[0] / 1e6, growth / 1e6))
        assert growth < GROWTH, report
    losses = [loss for run in runs for _, loss, _ in run]
    assert all(loss < float('inf') for loss in losses)
    assert sum(losses[-10:]) < sum(losses[:10])
    last = torch.load(tmp_path / f'work/iter_{STEPS}.pth', weights_only=True)
    assert last['meta']['iter'] == STEPS
    assert [path.name for path in (tmp_path / 'work').glob('*.pth')] == [f'iter_{STEPS}.pth']
    print(f'{STEPS} steps in {time.monotonic() - began:.0f} s; first step, last step, MB, growth:')
    for row in report:
        print('{:5} {:5} {:7.1f} {:+6.1f}'.format(*row))
