"""Configs of the photo scenes train: a backbone on photographs, a detector that begins with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import make_photo_scenes
from tiny_photos import write_layout

pytestmark = pytest.mark.usefixtures('from_the_root')
SMALL = {  # narrower than the student, for two classes
    'model.roi_head.bbox_head.num_classes': 2,
    'train_dataloader.dataset.metainfo': dict(classes=('dog', 'feline')),
    'val_dataloader.dataset.metainfo': dict(classes=('dog', 'feline')),
    'model.backbone.base_channels': 8,
    'model.neck.in_channels': [8, 16, 32, 64],
}


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('photos')
    source = write_layout(root)
    make_photo_scenes.make_scenes(
        source, root / 'scenes', groups=root / 'groups.txt', held_out=6, tiny=True
    )
    return root / 'scenes'


def trained(name: str, work_dir: Path, changes: dict) -> Runner:
    """The runner of a config, changed and trained."""
    config = Config.fromfile(f'configs/scenes/{name}.py')
    config.merge_from_dict({**changes, 'work_dir': str(work_dir), 'log_level': 'ERROR'})
    config.experiment_name = f'{work_dir.name}_{id(config)}'
    before = DefaultScope.get_current_instance()
    runner = Runner.from_cfg(config)
    runner.train()
    assert before is None or DefaultScope.check_instance_created(before.instance_name)
    return runner


def test_a_detector_begins_with_its_backbone_trains_and_is_evaluated(
    scenes: Path, tmp_path: Path
) -> None:
    arrays = {
        f'{split}_dataloader.dataset.path': f'{scenes}/photos.npz' for split in ('train', 'val')
    }
    backbone = trained(
        'backbones/resnet18-w16',
        tmp_path / 'backbone',
        {
            **arrays,
            'model.network.backbone.base_channels': 8,
            'train_dataloader.batch_size': 24,
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 1,
        },
    )
    assert 0 <= backbone.message_hub.get_scalar('val/accuracy/top1').current() <= 100
    learnt = torch.load(tmp_path / 'backbone/epoch_1.pth', weights_only=True)['state_dict']

    data = {f'{split}_dataloader.dataset.data_root': f'{scenes}/' for split in ('train', 'val')}
    detector = trained(
        'faster-rcnn_student',
        tmp_path / 'detector',
        {
            **SMALL,
            **data,
            'val_evaluator.ann_file': f'{scenes}/annotations/groups_val.json',
            'model.backbone.init_cfg.checkpoint': f'{tmp_path}/backbone/epoch_1.pth',
            'train_dataloader.batch_size': 4,
            'train_cfg.max_iters': 2,
            'train_cfg.val_interval': 2,
            'optim_wrapper.optimizer.lr': 0.0,
            'optim_wrapper.optimizer.weight_decay': 0.0,
        },
    )
    assert detector.message_hub.get_scalar('val/coco/bbox_mAP').current() >= 0
    found = detector.model.backbone.state_dict()
    for name, value in found.items():
        if 'running' not in name and 'num_batches' not in name:
            assert torch.equal(value, learnt[f'network.backbone.{name}']), name
    assert detector.model.backbone.layer4[0].conv1.weight.is_contiguous(
        memory_format=torch.channels_last
    )
