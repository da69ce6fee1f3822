"""Whole trainings with images that have no labels: mixed, alternating, resumed, averaged."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sameness import same
from tiny_training import ROOT, config_of, prepare, train
from wkd_det.detection.export import plain_config

STEPS, STOP = 8, 4


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('unlabelled')
    prepare(path, images=6)
    return path


def unlabelled_config(folder, name, **changes):
    """The tiny run with the data loader of the mini config for images without labels."""
    config = config_of(
        folder, folder / name, STEPS, STOP,
        **{'default_hooks.checkpoint.max_keep_ckpts': -1, **changes},
    )  # fmt: skip
    mini = Config.fromfile(ROOT / 'configs/mini/wkd-lf_unlabelled.py')
    config.model.unlabelled = mini.model.unlabelled
    config.model.distill.loss_wkd_l.loss.separated = False
    loader = mini.train_dataloader
    labelled, others = loader.dataset.datasets
    assert labelled.indices == 100
    parts = [dict(config.train_dataloader.dataset, indices=3), dict(others)]
    for part in parts:
        part.update(data_root=f'{folder}/data/', pipeline=config.train_dataloader.dataset.pipeline)
    config.train_dataloader.dataset = dict(loader.dataset, datasets=parts)
    config.train_dataloader.sampler = dict(loader.sampler, batch_size=4)
    config.train_dataloader.batch_size = 4
    return config


def mixed(config):
    config.train_dataloader.num_workers = 2
    config.custom_hooks = [dict(type='EMAHook')]


def alternating(config):
    """With one update from a batch of either kind."""
    config.train_dataloader.sampler.update(alternate=True, source_ratio=[1, 1])
    config.optim_wrapper.accumulative_counts = 2


def of_mmdet(config):
    """MMDetection's sampler, which groups images that lie and images that stand."""
    sampler = dict(type='GroupMultiSourceSampler', batch_size=4, source_ratio=[1, 1])
    config.train_dataloader.sampler = sampler


@pytest.mark.parametrize('change', [mixed, alternating, of_mmdet])
def test_it_trains_evaluates_and_a_resumed_run_is_the_uninterrupted_one(folder, change):
    name = change.__name__
    config = unlabelled_config(folder, f'{name}_whole')
    change(config)
    runner = train(config)
    assert runner.train_loop.dataloader.dataset.metainfo['classes'][0] == 'zero'
    assert len(runner.message_hub.get_scalar('val/coco/bbox_mAP').data[0]) == STEPS // STOP
    middle, last = (Path(config.work_dir) / f'iter_{step}.pth' for step in (STOP, STEPS))
    config = copy.deepcopy(config)
    config.work_dir = str(folder / f'{name}_resumed')
    torch.manual_seed(1)  # what the process did before must not matter
    train(config, resume=middle)
    whole, resumed = (
        torch.load(folder / f'{name}_{kind}' / last.name, weights_only=True)
        for kind in ('whole', 'resumed')
    )
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'random_states'):
        assert same(whole.get(key), resumed.get(key)), key
    assert ('ema_state_dict' in whole) == (change is mixed)
    assert whole['meta']['dataset_meta']['classes'][0] == 'zero'
    logs = [content['message_hub']['log_scalars'] for content in (whole, resumed)]
    names = [name for name in logs[0] if re.search('loss', name)]
    for name in names:
        assert logs[0][name].data[0].tolist() == logs[1][name].data[0].tolist(), name
    steps = len(logs[0]['train/loss_wkd_f'].data[0])
    assert steps == STEPS
    # The losses of the task are those of the steps with labels.
    assert len(logs[0]['train/loss_rpn_cls'].data[0]) == (
        STEPS // 2 if change is alternating else STEPS
    )


def test_the_config_of_the_plain_student(folder):
    config = unlabelled_config(folder, 'plain')
    plain = plain_config(config)
    assert plain.model.type == 'FasterRCNN'
    assert 'unlabelled' not in plain.model
    loader = plain.train_dataloader
    assert loader.dataset.type == 'CocoDataset'
    assert loader.sampler == dict(type='DefaultSampler', shuffle=True)


def test_the_config_of_coco_reads_both_of_its_parts():
    path = ROOT / 'configs/detection/wkd-lf_faster-rcnn_r101-to-r18_180k_unlabeled2017.py'
    config = Config.fromfile(path)
    labelled, others = config.train_dataloader.dataset.datasets
    assert labelled.ann_file == 'annotations/instances_train2017.json'
    assert others.ann_file == 'annotations/image_info_unlabeled2017.json'
    assert others.data_prefix == dict(img='unlabeled2017/')
    assert config.train_dataloader.batch_sampler is None
    assert config.train_dataloader.sampler.batch_size == config.train_dataloader.batch_size == 4
