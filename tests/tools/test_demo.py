"""The demo end to end at a size that tests only the way, and its second run."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from commands import ENVIRONMENT, HANGS, ROOT

pytestmark = pytest.mark.slow  # minutes


def command(folder, *extra):
    return [
        sys.executable, str(ROOT / 'tools/demo.py'), '--steps', '5', '--train', '32', '--val', '8',
        '--data', str(folder / 'data'), '--work-dir', str(folder / 'work'), *extra,
    ]  # fmt: skip


def demo(folder, *extra, code=0):
    done = subprocess.run(
        command(folder, *extra),
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def interrupted(tmp_path_factory):
    """A folder whose demo was interrupted as soon as the first training had begun."""
    folder = tmp_path_factory.mktemp('demo')
    process = subprocess.Popen(
        command(folder),
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    for line in process.stdout:
        if 'teacher: 6 steps' in line:
            break
    time.sleep(5)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: the whole group
    rest = process.communicate(timeout=HANGS)[0]
    assert process.returncode != 0
    assert 'goes on from the last checkpoint' in rest
    assert 'Traceback' not in rest
    return folder


def test_goes_on_prints_the_table_paints_and_reuses(interrupted):
    first = demo(interrupted)
    row = r'\| {} \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ M \|'
    for title in ('teacher', 'plain student', r'WKD-L \+ WKD-F student'):
        assert re.search(row.format(title), first), first
    with Image.open(interrupted / 'work/demo.png') as picture:
        assert picture.width > picture.height * 0.5 > 100
    second = demo(interrupted)
    assert first[first.index('| detector') :] == second[second.index('| detector') :]
    assert 'step 5/5' not in second  # nothing is trained again
    assert second.count('is finished') == 3


def test_other_settings_in_the_same_folder_are_refused(interrupted):
    refused = demo(interrupted, '--steps', '4', code=1)
    assert 'holds a run of other config' in refused.splitlines()[-1]
    assert 'train_cfg' in refused.splitlines()[-1]


def test_wrong_number_of_steps(tmp_path):
    assert '--steps must be at least 2, got 1' in demo(tmp_path, '--steps', '1', code=2)
