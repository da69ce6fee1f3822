"""Mixed precision on the CPU: it trains in bfloat16, with every kind of detector."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, OPTIM_WRAPPERS

import tiny_training
from commands import MMDET_TOOLS, run
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.testing import (
    distilled_config,
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)
from wkd_det.testing.detectors import CONFIGS


@pytest.fixture
def distilled(teacher_section):
    terms = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term())
    torch.manual_seed(0)
    model = MODELS.build(distilled_config(teacher_section, terms))
    model.init_weights()
    return model.train()


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine has its own wrapper for GPUs')
@pytest.mark.parametrize('kernel', ['torchvision', 'mmcv'])
def test_amp_on_the_cpu_trains_in_bfloat16(distilled, kernel):
    (pooler,) = distilled.distiller.terms['loss_wkd_f'].tap.poolers
    extractors = (
        distilled.roi_head.bbox_roi_extractor,
        distilled.distiller.teacher.module.roi_head.bbox_roi_extractor,
        pooler.student,
        pooler.teacher,
    )
    for layer in (layer for extractor in extractors for layer in extractor.roi_layers):
        layer.use_torchvision = kernel == 'torchvision'
    config = dict(type='AmpOptimWrapper', loss_scale='dynamic')  # what --amp sets
    optimizer = torch.optim.AdamW(distilled.parameters(), lr=1e-3)
    wrapper = OPTIM_WRAPPERS.build(dict(config, optimizer=optimizer))
    assert isinstance(wrapper, CPUAmpOptimWrapper)
    seen = []
    handle = distilled.neck.register_forward_hook(lambda *args: seen.append(args[-1][0].dtype))
    batch = random_batch([(96, 96), (96, 96)])
    losses = []
    for _ in range(12):
        torch.manual_seed(3)
        losses.append(distilled.train_step(copy.deepcopy(batch), wrapper))
    handle.remove()
    assert set(seen) == {torch.bfloat16}
    for name in ('loss', 'loss_wkd_l', 'loss_wkd_f'):
        values = [log[name].item() for log in losses]
        assert np.isfinite(values).all()
        assert values[-1] < values[0], (name, values)
    assert all(log['loss_wkd_l'].dtype == torch.float32 for log in losses)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in distilled.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine has its own wrapper for GPUs')
def test_flag_amp_of_mmdet_trains_on_the_cpu(tmp_path):
    tiny_training.prepare(tmp_path, images=4)
    config = tiny_training.config_of(tmp_path, tmp_path / 'work', 2, 2)
    config.dump(tmp_path / 'config.py')
    output = run(MMDET_TOOLS / 'train.py', tmp_path / 'config.py', '--amp')
    assert 'coco/bbox_mAP' in output
    assert (tmp_path / 'work/iter_2.pth').is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine has its own wrapper for GPUs')
@pytest.mark.parametrize('kind', CONFIGS)
def test_every_kind_of_detector_trains_in_bfloat16(kind, tmp_path):
    teacher = tiny_detector(kind, fpn_channels=24)
    save_detector(teacher, tmp_path / 'teacher.pth')
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    terms = dict(loss_neck=wkd_f_neck_term(levels=[0]))
    model = MODELS.build(distilled_from(tiny_detector(kind), section, terms))
    model.init_weights()
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='AmpOptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=1e-3))
    )
    for seed in range(2):
        batch = random_batch([(96, 96)], masks=kind == 'MaskRCNN', seed=seed)
        log = model.train().train_step(batch, wrapper)
    assert all(value.isfinite().all() for value in log.values())
    assert log['loss_neck'] > 0
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_precision_other_than_bfloat16(distilled):
    optimizer = torch.optim.SGD(distilled.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="bfloat16, got dtype='float16'"):
        CPUAmpOptimWrapper(optimizer=optimizer, dtype='float16')
