"""The command line serves classifiers too: subprocesses on the digits."""

import os
import subprocess
import sys
from pathlib import Path

import mmdet
import torch
from mmengine.config import Config

from wkd_det.testing import save_classifier

ROOT = Path(__file__).resolve().parents[2]
MMDET_TOOLS = Path(mmdet.__file__).parent / '.mim/tools'
CONFIG = 'configs/classification/digits/wkd-lf_digits.py'


def run(*command):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    return output


def test_mmdet_trains_a_classifier_and_ours_tests_its_teacher(tmp_path):
    teacher = Config.fromfile(
        ROOT / 'configs/classification/digits/baseline/resnet20_teacher.py'
    ).model
    section = save_classifier(teacher, tmp_path / 'teacher.pth', bare=True)
    options = [
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'model.teacher.checkpoint={section["checkpoint"]}',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'train_dataloader.batch_size=4',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
    ]
    output = run(MMDET_TOOLS / 'train.py', CONFIG, *options)
    assert 'loss_wkd_l' in output
    assert 'accuracy/top1' in output
    saved = torch.load(tmp_path / 'work/iter_2.pth', weights_only=True)['state_dict']
    assert not any('teacher' in key for key in saved)
    # A public archive, which mmengine alone would not read.
    output = run('tools/test.py', CONFIG, '--teacher', *options)
    assert 'accuracy/top1' in output
    assert 'missing keys' not in output
