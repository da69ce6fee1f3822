"""Lengths of runs, what they start and refuse; whole ones are in tests/tools/test_compare.py."""

import os
import re
import sys
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from wkd_det.experiments.run import (
    ChangedError,
    RunError,
    TrainingRun,
    set_length,
    training_length,
)


def test_length_of_iterations():
    config = Config(
        dict(
            train_cfg=dict(max_iters=500, val_interval=500),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=25),
                dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=500),
                dict(type='MultiStepLR', by_epoch=True, end=500, milestones=[100]),
            ],
        )
    )
    set_length(config, 100)
    assert training_length(config) == config.train_cfg.val_interval == 100
    assert [scheduler.end for scheduler in config.param_scheduler] == [25, 100, 500]
    assert config.param_scheduler[2].milestones == [100]  # counts epochs, not iterations


def test_length_of_epochs():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=240, val_interval=10),
            param_scheduler=dict(type='MultiStepLR', milestones=[150, 180, 210], end=240),
        )
    )
    set_length(config, 24)
    assert training_length(config) == 24
    assert config.train_cfg.val_interval == 10
    assert config.param_scheduler.milestones == [15, 18, 21]
    set_length(config, 4)
    assert config.train_cfg.val_interval == 4
    with pytest.raises(ValueError, match='length must be at least 1, got 0'):
        set_length(config, 0)
    with pytest.raises(ValueError, match='no train_cfg with max_iters or max_epochs'):
        training_length(Config(dict(model=1)))


class Group:
    """Notes what it is to start; every process ends at once and prints nothing."""

    def __init__(self, code=0):
        self.code = code
        self.started = []

    def start(self, command, *, env, pass_fds):
        self.started.append((command, env))
        return SimpleNamespace(stdout=[], returncode=self.code)

    def wait(self, process):
        return 100.0


def run_in(folder, *, tools='checkout/tools', **options):
    train = dict(max_iters=4, val_interval=4)
    evaluation = dict(val_cfg=dict(type='ValLoop'), val_dataloader={}, val_evaluator={})
    config = Config(dict(train_cfg=train, model=dict(type='FasterRCNN'), **evaluation))
    return TrainingRun(
        'plain, seed 1', config, folder / 'work', 'coco/bbox_mAP', tools=folder / tools, **options
    )


def test_it_starts_the_scripts_of_the_checkout_that_it_is_told(tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/iter_4.pth').touch()
    run, group = run_in(tmp_path, processes=2, threads=3), Group()
    (tmp_path / 'work/last_checkpoint').write_text('elsewhere/iter_4.pth')
    (tmp_path / 'work/harness').mkdir()
    message = f'{tmp_path}/work holds checkpoints of unknown origin: move them away'
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        run.run(print, group)
    assert group.started == []
    (tmp_path / 'work/iter_4.pth').unlink()
    with pytest.raises(RunError, match=f'^plain, seed 1: no checkpoint in {tmp_path}/work$'):
        run.run(print, group)
    ((command, environment),) = group.started
    assert command[:5] == [
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
    ]  # fmt: skip
    assert command[5:] == [
        f'{tmp_path}/checkout/tools/train.py', f'{tmp_path}/work/harness/work.py', '--resume',
        '--launcher', 'pytorch',
    ]  # fmt: skip
    assert environment['PYTHONPATH'].split(os.pathsep)[0] == f'{tmp_path}/checkout'
    assert environment['OMP_NUM_THREADS'] == '3'


def test_a_process_that_fails_leaves_its_message(tmp_path):
    run = run_in(tmp_path)
    log = tmp_path / 'work/harness/output.log'
    with pytest.raises(RunError, match=f'^plain, seed 1 failed \\(all of it in {log}\\):\n$'):
        run.run(print, Group(code=1))
    assert run.has_failed
    assert not run.is_finished
    with pytest.raises(RunError):
        run.run(print, Group(code=-9))  # killed: it may be started again
    assert not run.has_failed


def test_a_folder_with_another_run_is_refused_or_removed(tmp_path):
    with pytest.raises(RunError):
        run_in(tmp_path).run(print, Group(code=1))
    other = run_in(tmp_path)
    other.config.model = dict(type='FCOS', **{f'key{index}': index for index in range(7)})
    message = (
        f'plain, seed 1: {tmp_path}/work holds a run of other config model.key0, config '
        'model.key1, config model.key2, config model.key3, config model.key4, config model.key5 '
        'and 2 more'
    )
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        other.check()
    other.check(discard=True)
    assert not (tmp_path / 'work').exists()
    other.config.model.type = 'GFL'
    message = 'plain, seed 1: config model.type has changed since the start'
    with pytest.raises(ChangedError, match=f'^{message}$'):
        other.check()
