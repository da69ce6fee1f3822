"""Runs of mmengine's Runner on the digits: resume, schedule, what a checkpoint holds."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from tiny_models import train
from wkd_det.classification.classifier import network_weights
from wkd_det.classification.networks.zoo import CifarModel
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.testing import classifier_config, save_classifier

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path):
    init_default_scope('mmdet')
    config = Config.fromfile(ROOT / 'configs/classification/digits/wkd-lf_digits.py')
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth')
    # The digits name their classes; these random weights must not claim other names.
    torch.save(dict(state_dict=torch.load(section['checkpoint'])['state_dict']), tmp_path / 't.pth')
    config.model.teacher = dict(section, checkpoint=str(tmp_path / 't.pth'))
    config.custom_hooks = [dict(type='TermScheduleHook', by_epoch=False, decay_from=1)]
    config.merge_from_dict(
        {
            'train_cfg.max_iters': 4,
            'train_cfg.val_interval': 4,
            'train_dataloader.batch_size': 4,
            'val_dataloader.dataset.transforms': [dict(type='CenterCrop', size=32)],
            'default_hooks.checkpoint.interval': 2,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'default_hooks.logger.interval': 1,
            'env_cfg.dist_cfg.backend': 'gloo',
        }
    )
    return config


def test_resumed_run_equals_an_uninterrupted_one_and_loads_in_the_plain_network(config, tmp_path):
    whole = train(config, tmp_path / 'whole')
    first = str(tmp_path / 'whole/iter_2.pth')
    resumed = train(config, tmp_path / 'resumed', resume=True, load_from=first)
    values = resumed.model.state_dict()
    assert all(torch.equal(value, values[key]) for key, value in whole.model.state_dict().items())
    assert whole.message_hub.get_scalar('val/accuracy/top1').current() == (
        resumed.message_hub.get_scalar('val/accuracy/top1').current()
    )
    saved = read_checkpoint(tmp_path / 'whole/iter_4.pth')
    assert saved['meta']['dataset_meta']['classes'] == tuple('0123456789')
    prefixes = {key.split('.')[0] for key in saved['state_dict']}
    assert prefixes == {'network', 'distiller'}
    plain = CifarModel('resnet8', 10)
    plain.load_state_dict(network_weights(tmp_path / 'whole/iter_4.pth'), strict=True)
    losses = whole.message_hub.get_scalar('train/loss_wkd_f').data[0]
    assert losses[0] > 0
    assert losses[-1] == 0  # the decay has reached its end
