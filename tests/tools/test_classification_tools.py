"""The command line serves classifiers too: subprocesses on the digits."""

import torch
from mmengine.config import Config

from commands import MMDET_TOOLS, ROOT
from commands import run_apart as run
from wkd_det.testing import save_classifier

CONFIG = 'configs/classification/digits/wkd-lf_digits.py'


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
