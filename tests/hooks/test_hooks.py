"""Hooks one by one; whole runs are in tests/tools/test_resume.py and tests/test_soak.py."""

import copy
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS, MODELS, OPTIM_WRAPPERS
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub

import tiny_training
from commands import MMDET_TOOLS, run
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.hooks.exact_checkpoint import ExactCheckpointHook
from wkd_det.runtime.state import random_state, set_random_state
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

# Random states


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1)


def test_random_states_come_back_through_a_file_of_plain_data(tmp_path):
    random.gauss(0, 1)  # leaves a second value in store, part of the state
    np.random.randn()
    torch.save(random_state(), tmp_path / 'state.pth')
    first = draws()
    draws()
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert draws() == first


# Files


@pytest.mark.parametrize('kind', ['put', 'put_text'])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, kind):
    backend = get_file_backend(backend_args=dict(backend='atomic_local'))
    content = (b'old', b'new') if kind == 'put' else ('old', 'new')
    path = tmp_path / 'folder/file'
    getattr(backend, kind)(content[0], path)

    def fail(handle):
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fail)
        with pytest.raises(OSError, match='disk full'):
            getattr(backend, kind)(content[1], path)
    assert path.read_bytes() == b'old'
    getattr(backend, kind)(content[1], path)
    assert path.read_bytes() == b'new'
    assert [file.name for file in path.parent.iterdir()] == ['file']


def test_checkpoints_go_through_it_unless_they_go_elsewhere():
    assert ExactCheckpointHook().backend_args == dict(backend='atomic_local')
    assert ExactCheckpointHook(out_dir='s3://bucket').backend_args is None
    own = dict(backend='petrel')
    assert ExactCheckpointHook(backend_args=own).backend_args == own
    assert isinstance(HOOKS.build(dict(type='ExactCheckpointHook')), ExactCheckpointHook)


def checkpoint_runner(tmp_path, saved, *, iteration=0, accumulating=False):
    return SimpleNamespace(
        work_dir=str(tmp_path),
        logger=SimpleNamespace(info=lambda text: None),
        message_hub=MessageHub(f'checkpoints {tmp_path} {iteration}'),
        iter=iteration,
        save_checkpoint=lambda folder, filename, *_, **__: saved(filename),
        optim_wrapper=SimpleNamespace(
            _accumulative_counts=2, should_update=lambda: not accumulating
        ),
    )


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(
        'wkd_det.hooks.exact_checkpoint.print_log', lambda text, **_: found.append(text)
    )
    return found


@pytest.mark.parametrize('keep', [1, 2])
def test_old_checkpoints_go_after_the_new_one_is_there(tmp_path, warnings, keep):
    present = []

    def save(name):
        present.append(sorted(path.name for path in tmp_path.glob('*.pth')))
        if name == 'iter_4.pth':
            raise OSError('disk full')
        (tmp_path / name).touch()

    hook = ExactCheckpointHook(by_epoch=False, max_keep_ckpts=keep)
    runner = checkpoint_runner(tmp_path, save)
    hook.before_train(runner)
    for step in (1, 2, 3):
        hook._save_checkpoint_with_step(runner, step, {})
    with pytest.raises(OSError, match='disk full'):
        hook._save_checkpoint_with_step(runner, 4, {})
    left = [f'iter_{step}.pth' for step in range(4 - keep, 4)]
    assert present[-1] == left
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == left
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_3.pth')
    assert warnings == []


def test_what_a_killed_run_could_not_remove_the_resumed_one_does(tmp_path):
    for step in (1, 2):
        (tmp_path / f'iter_{step}.pth').touch()
    runner = checkpoint_runner(tmp_path, None)
    runner.message_hub.update_info('keep_ckpt_ids', [1, 2])  # as the checkpoint of step 2 says
    ExactCheckpointHook(by_epoch=False, max_keep_ckpts=1).before_train(runner)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']


def test_it_says_when_resuming_is_not_exact(tmp_path, warnings):
    hook = ExactCheckpointHook(by_epoch=False)
    hook.after_load_checkpoint(None, dict(random_states=[random_state()] * 2))
    hook.before_train(checkpoint_runner(tmp_path, None, iteration=5))
    assert 'holds those of 2 processes, 1 processes go on' in warnings.pop()
    hook.after_load_checkpoint(None, {})
    hook.before_train(checkpoint_runner(tmp_path, None, iteration=6))
    assert 'holds no random states' in warnings.pop()
    hook.after_load_checkpoint(None, {})  # load_from without resume
    hook.before_train(checkpoint_runner(tmp_path, None, iteration=0))
    assert warnings == []
    runner = checkpoint_runner(tmp_path, lambda name: None, accumulating=True)
    hook._save_checkpoint_with_step(runner, 7, {})
    assert 'step 7 falls amid gradient accumulation' in warnings.pop()


def test_validation_draws_nothing_from_training():
    hook = ExactCheckpointHook()
    first = torch.get_rng_state()
    hook.before_val(None)
    draws()
    hook.after_val(None)
    assert torch.equal(torch.get_rng_state(), first)


@pytest.mark.parametrize('names', ['score', ['score', 'other']])
def test_the_best_checkpoint_goes_after_the_better_one_is_there(tmp_path, names):
    present = []

    def save(name):
        present.append(sorted(path.name for path in tmp_path.glob('best*.pth')))
        if name == 'best_score_iter_4.pth':
            raise OSError('disk full')
        (tmp_path / name).touch()

    hook = ExactCheckpointHook(by_epoch=False, save_best=names, rule='greater')
    runner = checkpoint_runner(tmp_path, save)
    runner.epoch = 0
    hook.before_train(runner)
    scores = {1: 0.1, 2: 0.3, 3: 0.2}
    for runner.iter, score in scores.items():
        hook._save_best_checkpoint(runner, dict(score=score, other=1.0))
    scored = [name for names in present[:2] for name in names if 'score' in name]
    assert scored == ['best_score_iter_1.pth']  # was there while the second was written
    assert [path.name for path in tmp_path.glob('best_score*')] == ['best_score_iter_2.pth']
    runner.iter = 4
    with pytest.raises(OSError, match='disk full'):
        hook._save_best_checkpoint(runner, dict(score=0.4, other=1.0))
    assert [path.name for path in tmp_path.glob('best_score*')] == ['best_score_iter_2.pth']
    if names != 'score':
        assert [path.name for path in tmp_path.glob('best_other*')] == ['best_other_iter_1.pth']


# Precision


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
