"""One training step of each COCO method, full-size networks, on two images in COCO's format."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from wkd_det.testing import save_detector

ROOT = Path(__file__).resolve().parents[2]
PAIR = 'faster-rcnn_r101-to-r18_180k'
TERMS = {
    'wkd-l': ['loss_wkd_l'],
    'wkd-f': ['loss_wkd_f'],
    'wkd-f-fpn': ['loss_wkd_f_fpn'],
    'wkd-lf': ['loss_wkd_l', 'loss_wkd_f'],
}


def config_of(method):
    return Config.fromfile(ROOT / f'configs/detection/{method}_{PAIR}.py')


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """Two images of 96 x 128 pixels with a person and a toothbrush, ids as in COCO."""
    from mmdet.datasets import CocoDataset

    folder = tmp_path_factory.mktemp('coco')
    (folder / 'annotations').mkdir()
    (folder / 'train2017').mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id in (1, 2):
        name = f'{image_id:012d}.jpg'
        pixels = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'train2017' / name)
        images.append(dict(id=image_id, file_name=name, height=96, width=128))
        for category, box in ((1, [10, 10, 60, 70]), (90, [40, 30, 50, 40])):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=category,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
    names = CocoDataset.METAINFO['classes']
    ids = [1, *range(2, len(names)), 90]
    categories = [dict(id=i, name=name) for i, name in zip(ids, names)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations/instances_train2017.json').write_text(json.dumps(content))
    return folder, list(names)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory, coco):
    """Random weights of the real teacher, with COCO's class names."""
    from mmengine.hub import get_config
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    path = tmp_path_factory.mktemp('teacher') / 'r101.pth'
    config = get_config(config_of('wkd-l').model.teacher.config).model
    config.backbone.init_cfg = None
    save_detector(config, path, class_names=coco[1])
    yield path
    path.unlink()  # 240 MB


@pytest.mark.parametrize('method', TERMS)
def test_one_step(method, coco, teacher, tmp_path):
    config = config_of(method)
    folder, _ = coco
    config.work_dir = str(tmp_path)
    config.experiment_name = f'step_{method}'
    config.model.teacher.checkpoint = str(teacher)
    config.model.backbone.init_cfg = None
    dataset = config.train_dataloader.dataset
    dataset.update(data_root=f'{folder}/')
    dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(128, 96), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    # The way is that of a thousand proposals.
    config.model.train_cfg.rpn_proposal.max_per_img = 64
    config.model.train_cfg.rcnn.sampler.num = 32
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    for phase in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            config[f'{phase}_{part}'] = None
    config.default_hooks.logger.interval = 1
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    runner = Runner.from_cfg(config)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    for term in TERMS[method]:
        value = runner.message_hub.get_scalar(f'train/{term}').current()
        assert np.isfinite(value)
        assert value > 0
    moved = [
        name
        for name, parameter in runner.model.named_parameters()
        if not parameter.equal(before[name])
    ]
    assert any(name.startswith('backbone.') for name in moved)
    if method != 'wkd-l':
        assert any('connectors' in name for name in moved)
