"""A whole training run of a tiny distilled detector: for tests, also as a script to be killed."""

import argparse
import copy
import os
import signal
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import wkd_det  # noqa: F401  registers everything
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.testing import (
    distilled_config,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_term,
    wkd_l_term,
)

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tools')]))
"""Environment that this file needs as a script."""


def teacher_config():
    return tiny_faster_rcnn(num_classes=10, base_channels=8, fpn_channels=24)


def prepare(folder, images=6):
    """Data and teacher."""
    init_default_scope('mmdet')
    make_dataset(folder / 'data', train=images, val=2, size=64, seed=0)
    save_detector(teacher_config(), folder / 'teacher.pth', class_names=list(CLASSES))


def config_of(folder, work_dir, steps, interval, **changes):
    """The mini config with the tiny pair, a random flip and dropped-in changes."""
    config = Config.fromfile(ROOT / 'configs/mini/wkd-lf.py')
    section = dict(config=teacher_config(), checkpoint=str(folder / 'teacher.pth'))
    terms = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term())
    config.model = distilled_config(section, terms, num_classes=10)
    config.train_dataloader.batch_size = 2
    pipeline = copy.deepcopy(config.train_dataloader.dataset.pipeline)
    pipeline.insert(3, dict(type='RandomFlip', prob=0.5))
    config.train_dataloader.dataset.pipeline = pipeline
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        for transform in loader.dataset.pipeline:
            if transform.type == 'Resize':
                transform.scale = (64, 64)
    config.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'train_dataloader.dataset.data_root': f'{folder}/data/',
            'val_dataloader.dataset.data_root': f'{folder}/data/',
            'test_dataloader.dataset.data_root': f'{folder}/data/',
            'val_evaluator.ann_file': f'{folder}/data/annotations/instances_val.json',
            'test_evaluator.ann_file': f'{folder}/data/annotations/instances_val.json',
            'train_cfg.max_iters': steps,
            'train_cfg.val_interval': interval,
            'param_scheduler.0.end': 5,
            'param_scheduler.1.end': steps,
            'default_hooks.checkpoint.interval': interval,
            'default_hooks.logger.interval': 10,
            **changes,
        }
    )
    return config


def train(config, resume=False):
    """Run to the end; ``resume`` is a checkpoint, or True for the last one in the folder."""
    config = copy.deepcopy(config)
    config.resume = bool(resume)
    config.load_from = str(resume) if isinstance(resume, Path) else None
    config.experiment_name = Path(config.work_dir).name + f'_{id(config)}'
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def run_of(folder, steps, interval):
    """Config of the run that this file does as a script."""
    changes = {'train_dataloader.sampler.type': 'InfiniteSampler'}
    return config_of(folder, folder / 'work', steps, interval, **changes)


def kill_in_write(number):
    """SIGKILL this process when the n-th checkpoint is written but not yet renamed."""
    real, seen = os.fsync, []

    def fsync(handle):
        name = os.readlink(f'/proc/self/fd/{handle}')
        seen.extend([name] if '.pth' in name else [])
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--steps', type=int, required=True)
    parser.add_argument('--interval', type=int, required=True)
    parser.add_argument('--kill-in-write', type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kill_in_write:
        kill_in_write(arguments.kill_in_write)
    train(run_of(arguments.folder, arguments.steps, arguments.interval), resume=True)
