"""Checkpoints that a kill cannot spoil; whole runs are in tests/tools/test_resume.py."""

import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub

from wkd_det.hooks.exact_checkpoint import ExactCheckpointHook
from wkd_det.runtime.state import random_state


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1)


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
    hook.before_val(None)
    first = draws()
    hook.after_val(None)
    assert draws() == first


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
