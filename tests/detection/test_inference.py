"""A distilled config in MMDetection's own ways of using a detector from Python."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from wkd_det.detection.detectors import DistilledFasterRCNN
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.testing import distilled_config, random_batch, save_detector, wkd_f_term, wkd_l_term

ROOT = Path(__file__).resolve().parents[2]
TERMS = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term())


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A distilled and a plain config and one distilled checkpoint; the teacher's file is gone."""
    folder = tmp_path_factory.mktemp('inference')
    teacher = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py').model
    save_detector(teacher, folder / 'teacher.pth')
    configs = {}
    for name in ('wkd-lf', 'faster-rcnn_student'):
        config = Config.fromfile(ROOT / f'configs/mini/{name}.py')
        config.model.test_cfg.rcnn.score_thr = 0.0
        if name == 'wkd-lf':
            config.model.teacher = dict(config=teacher, checkpoint=str(folder / 'teacher.pth'))
            model = MODELS.build(config.model)
            model.init_weights()
            meta = dict(cfg=config.pretty_text, dataset_meta=dict(classes=tuple('abcdefghij')))
            torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'iter_1.pth')
        configs[name] = str(folder / f'{name}.py')
        config.dump(configs[name])
    (folder / 'teacher.pth').unlink()
    return configs['wkd-lf'], configs['faster-rcnn_student'], str(folder / 'iter_1.pth')


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def assert_same(found, expected):
    assert len(expected.scores) > 0
    for key in ('bboxes', 'scores', 'labels'):
        assert torch.equal(found[key], expected[key]), key  # the same operations in order


def test_init_detector_detects_as_the_plain_config_does(files, image):
    distilled, plain, checkpoint = files
    model = init_detector(distilled, checkpoint, device='cpu')
    assert isinstance(model, DistilledFasterRCNN)
    assert model.dataset_meta['classes'] == tuple('abcdefghij')
    found = inference_detector(model, image).pred_instances
    expected = inference_detector(init_detector(plain, checkpoint, device='cpu'), image)
    assert_same(found, expected.pred_instances)


@pytest.mark.parametrize('with_config', [True, False])
def test_inferencer_detects_as_init_detector_does(files, image, with_config):
    distilled, plain, checkpoint = files
    inferencer = DetInferencer(
        distilled if with_config else None, checkpoint, device='cpu', show_progress=False
    )
    assert isinstance(inferencer.model, DistilledFasterRCNN)
    found = inferencer(image, return_datasamples=True)['predictions'][0].pred_instances
    expected = inference_detector(init_detector(plain, checkpoint, device='cpu'), image)
    assert_same(found, expected.pred_instances)


class TwoImages(Dataset):
    metainfo = dict(classes=('ant', 'bee', 'cat', 'dog'))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        batch = random_batch([(64, 64)], seed=index)
        return dict(inputs=batch['inputs'][0], data_samples=batch['data_samples'][0])


def test_moving_average_trains_with_one_teacher_in_memory(teacher_section, tmp_path):
    runner = Runner(
        distilled_config(teacher_section, TERMS),
        str(tmp_path),
        train_dataloader=dict(
            batch_size=2,
            dataset=TwoImages(),
            sampler=dict(type=DefaultSampler, shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[dict(type='EMAHook', momentum=0.5)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        default_scope='mmdet',
        experiment_name='moving average',
    )
    gc.collect()
    before = sum(type(thing) is FasterRCNN for thing in gc.get_objects())
    model = runner.train()
    gc.collect()
    after = sum(type(thing) is FasterRCNN for thing in gc.get_objects())
    assert after - before == 1  # the student and its average are DistilledFasterRCNN
    hook = next(hook for hook in runner.hooks if isinstance(hook, EMAHook))
    average = hook.ema_model.module
    assert average is not model
    assert average.distiller.teacher in (None, model.distiller.teacher)  # copied before the start
    name, own = next(iter(model.backbone.named_parameters()))
    assert not torch.equal(own, average.backbone.get_parameter(name))
    content = read_checkpoint(tmp_path / 'iter_3.pth')
    for part in ('state_dict', 'ema_state_dict'):
        assert not any('teacher' in key for key in content[part])
    assert torch.equal(
        content['state_dict'][f'backbone.{name}'], average.backbone.get_parameter(name)
    )
    assert torch.equal(content['ema_state_dict'][f'module.backbone.{name}'], own)
