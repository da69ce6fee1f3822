"""Runs: what they start, leave behind and refuse."""

import json
import os
import re
import sys
import threading
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from specs import FAKE_TOOLS
from wkd_det.experiments import fingerprint
from wkd_det.experiments.processes import ProcessGroup, Usage
from wkd_det.experiments.run import ChangedError, RunError, TrainingRun
from wkd_det.experiments.shards import LockedError, locked
from wkd_det.runtime.files import read_json


class Group:
    """Notes what it is to start; every process prints some lines, or nothing, and ends."""

    def __init__(self, code=0, lines=()):
        self.code = code
        self.lines = [f'{line}\n' for line in lines]
        self.started = []

    def start(self, command, *, env, pass_fds):
        self.started.append((command, env))
        return SimpleNamespace(stdout=self.lines, returncode=self.code)

    def wait(self, process):
        return Usage(100.0, 2.0)


def run_in(folder, *, tools='checkout/tools', **options):
    config = Config(
        dict(
            train_cfg=dict(max_iters=4, val_interval=4),
            model=dict(type='FasterRCNN'),
            val_cfg=dict(type='ValLoop'),
            val_dataloader={},
            val_evaluator={},
        )
    )
    return TrainingRun(
        'plain, seed 1', config, folder / 'work', 'coco/bbox_mAP', tools=folder / tools, **options
    )


def fake_run(folder, **options):
    """A run of the training that takes no time."""
    model = dict(type='Nothing', weight=1.0, best=1.0, quality=0.5, distill=dict(loss_term={}))
    config = Config(
        dict(
            train_cfg=dict(max_iters=4, val_interval=4),
            model=model,
            optim_wrapper=dict(optimizer=dict(lr=1.0)),
            randomness=dict(seed=1),
        )
    )
    config.merge_from_dict(options.pop('changes', {}))
    return TrainingRun(
        'fake, seed 1', config, folder / 'work', 'fake/score', tools=FAKE_TOOLS, **options
    )


def trained(run):
    steps = []
    run.run(steps.append, ProcessGroup())
    return [progress.step for progress in steps]


def test_it_starts_the_scripts_of_the_checkout_that_it_is_told(tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/iter_4.pth').touch()
    run, group = run_in(tmp_path, processes=2, threads=3), Group()
    (tmp_path / 'work/last_checkpoint').write_text('elsewhere/iter_4.pth')
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


def test_a_run_leaves_a_record(tmp_path):
    file = tmp_path / 'results/seed_1.json'
    run = fake_run(
        tmp_path, record=file, about=dict(method='fake'), curves=['fake/loss'], threads=1
    )
    assert not run.is_finished
    assert trained(run) == [1, 2, 3, 4]
    assert run.is_finished
    record = run.record()
    assert record['method'] == 'fake'
    assert record['metrics']['fake/score'] == pytest.approx(0.504, abs=0.011)
    assert record['metrics']['fake/calibration']['accuracy'] == [0, 0.666667]
    assert record['metrics']['fake/confusion'] == [[8, 1], [2, 9]]
    assert list(record['curve']) == ['fake/score', 'fake/loss']
    assert record['losses'] == [[1, 0.75], [2, 0.375], [3, 0.25], [4, 0.1875]]  # without the term
    assert (record['steps'], record['starts']) == (4, 1)
    assert 'failed' not in record
    assert record['seconds'] > 0
    assert record['cpu_seconds'] > 0
    assert record['peak_memory'] > 1
    assert record['machine']['threads'] == 1
    assert file.stat().st_size < 8000
    assert run.checkpoint == tmp_path / 'work/iter_4.pth'
    assert trained(fake_run(tmp_path, record=file)) == []  # never again


def test_checkpoints_go_unless_they_are_kept(tmp_path):
    trained(fake_run(tmp_path, keep_checkpoints=False))
    assert not list((tmp_path / 'work').glob('*.pth'))
    assert not (tmp_path / 'work/last_checkpoint').exists()
    assert (tmp_path / 'work/harness/output.log').is_file()


def test_an_interrupted_run_goes_on_and_adds_up_what_it_took(tmp_path, monkeypatch):
    monkeypatch.setenv('FAKE_PAUSE', '0.05')
    run, group = fake_run(tmp_path), ProcessGroup()

    def stop(progress):
        if progress.step == 2:
            threading.Thread(target=group.end).start()  # as Ctrl-C does, while this one waits

    with pytest.raises(RunError, match=r'^fake, seed 1 failed \(all of it in '):
        run.run(stop, group)
    assert not run.is_finished
    assert run.is_begun
    begun = int(run.checkpoint.stem.split('_')[1])
    spent = read_json(tmp_path / 'work/harness/spent.json')
    again = fake_run(tmp_path)
    assert trained(again) == list(range(begun + 1, 5))
    record = again.record()
    assert record['starts'] == 2
    assert record['cpu_seconds'] >= round(spent['cpu_seconds'], 2)
    assert [step for step, _ in record['losses']] == [1, 2, 3, 4]


def test_after_a_kill_what_a_run_took_is_not_known(tmp_path):
    trained(fake_run(tmp_path))
    (tmp_path / 'work/harness/record.json').unlink()
    file = tmp_path / 'work/harness/spent.json'
    file.write_text(json.dumps(dict(read_json(file), is_open=True)))  # it could not be closed
    run = fake_run(tmp_path)
    trained(run)
    record = run.record()
    assert (record['starts'], record['seconds'], record['cpu_seconds']) == (2, None, None)


def test_what_has_no_checkpoint_begins_in_an_empty_folder(tmp_path):
    trained(fake_run(tmp_path, keep_checkpoints=False))
    (tmp_path / 'work/harness/record.json').unlink()
    again = fake_run(tmp_path, changes={'model.quality': 0.75})  # another run, of which is nothing
    assert trained(again) == [1, 2, 3, 4]
    assert again.record()['starts'] == 1
    assert again.record()['metrics']['fake/score'] > 0.75


def test_a_training_that_breaks_down(tmp_path):
    changes = {'model.weight': 100.0}
    run = fake_run(tmp_path, changes=changes)
    log = tmp_path / 'work/harness/output.log'
    message = f'fake, seed 1 failed (all of it in {log}):\nFloatingPointError: the loss is inf'
    with pytest.raises(RunError, match=f'^{re.escape(message)}$'):
        trained(run)
    assert not run.is_finished
    run = fake_run(tmp_path, changes=changes, may_fail=True)
    trained(run)
    record = run.record()
    assert (record['failed'], record['metrics']) == ('FloatingPointError: the loss is inf', {})


@pytest.mark.parametrize(
    ('weight', 'record'),
    [(500.0, 'ValueError: cost matrix is infeasible'), (1000.0, None)],
)
def test_an_error_is_a_breakdown_only_if_the_losses_were_not_finite(tmp_path, weight, record):
    """Of 500 the loss becomes nan before the error; of 1000 the disk is full."""
    run = fake_run(tmp_path, changes={'model.weight': weight}, may_fail=True)
    if record is None:
        with pytest.raises(RunError, match='OSError: no space left on device$'):
            trained(run)
        assert not run.is_finished
    else:
        trained(run)
        assert run.record()['failed'] == record


def test_the_reason_of_a_breakdown_may_stand_far_from_the_end(tmp_path):
    """As under torchrun, which adds a report of its own."""
    run = run_in(tmp_path, may_fail=True)
    said = ['error: distillation term loss_kd is nan at iteration 3: student', *['torchrun'] * 30]
    run.run(print, Group(code=1, lines=said))
    assert run.record()['failed'] == said[0]


def test_an_earlier_start_is_no_reason(tmp_path):
    said = 'error: distillation term loss_kd is inf at iteration 3: student'
    with pytest.raises(RunError, match=f'{said}$'):
        run_in(tmp_path).run(print, Group(code=1, lines=[said]))
    (tmp_path / 'work/last_checkpoint').write_text('iter_2.pth')  # so its log stays
    (tmp_path / 'work/iter_2.pth').touch()
    run = run_in(tmp_path, may_fail=True)
    with pytest.raises(RunError, match='OSError$'):
        run.run(print, Group(code=1, lines=['OSError']))
    warning = '01/01 - WARNING - distillation term loss_kd is nan: left out of the step'
    with pytest.raises(RunError, match='OSError$'):
        run.run(print, Group(code=1, lines=[warning, 'OSError']))
    assert not run.is_finished
    assert said in (tmp_path / 'work/harness/output.log').read_text()


def test_a_killed_training_has_not_failed(tmp_path):
    run = run_in(tmp_path, may_fail=True)
    with pytest.raises(RunError):
        run.run(print, Group(code=-9))
    assert not run.is_finished


def test_a_preparation_may_be_judged_by_anything(tmp_path):
    run = fake_run(tmp_path, curves=['coco/bbox_mAP', 'fake/score'])
    run.metric = None
    trained(run)
    record = run.record()
    assert 'fake/score' in record['metrics']
    assert list(record['curve']) == ['fake/score']


def test_the_metric_must_be_there(tmp_path):
    run = fake_run(tmp_path)
    run.metric = 'coco/bbox_mAP'
    message = (
        "fake, seed 1: the validation has no coco/bbox_mAP; it has ['fake/calibration', "
        "'fake/confusion', 'fake/confusion_names', 'fake/loss', 'fake/mistakes', 'fake/score']"
    )
    with pytest.raises(RunError, match=f'^{re.escape(message)}$'):
        trained(run)


def test_two_processes_do_not_train_the_same_run(tmp_path):
    run = fake_run(tmp_path)
    with locked(run.record_file), pytest.raises(LockedError):
        trained(run)
    assert trained(run) == [1, 2, 3, 4]


def test_a_record_of_another_run_is_refused_or_removed(tmp_path):
    file = tmp_path / 'record.json'
    trained(fake_run(tmp_path, record=file))
    other = fake_run(tmp_path, record=file, changes={'model.best': 2.0, 'model.quality': 3.0})
    message = f'fake, seed 1: {file} is of a run of other config model.best, config model.quality'
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        other.check()
    for path in (tmp_path / 'work/harness').iterdir():  # scratch may be gone
        path.unlink()
    message = f'fake, seed 1: {file} is of a run of other config_hash'
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        other.check()
    other.check(discard=True)
    assert not file.exists()
    assert not (tmp_path / 'work').exists()


def test_a_folder_with_another_run_is_refused(tmp_path):
    run = fake_run(tmp_path)
    trained(run)
    run.record_file.unlink()
    model = dict(type='FCOS', **{f'key{index}': index for index in range(7)})
    other = fake_run(tmp_path, changes=dict(model=model))
    message = (
        f'fake, seed 1: {tmp_path}/work is of a run of other config model.key0, config '
        'model.key1, config model.key2, config model.key3, config model.key4, config model.key5 '
        'and 2 more'
    )
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        other.check()


def test_what_changes_meanwhile_is_named(tmp_path):
    run = fake_run(tmp_path)
    run.check()
    run.config.model.type = 'GFL'
    message = 'fake, seed 1: config model.type has changed since the start'
    with pytest.raises(ChangedError, match=f'^{message}$'):
        run.check()


def test_a_commit_makes_records_count_whatever_the_code(tmp_path, monkeypatch):
    file = tmp_path / 'record.json'
    trained(fake_run(tmp_path, record=file, commits=['abc']))
    monkeypatch.setattr(fingerprint, '_versions', lambda: dict(torch='0'))
    fake_run(tmp_path, record=file, commits=['abc']).check()
    fake_run(tmp_path, record=file, commits=['abd', 'abc']).check()
    with pytest.raises(ChangedError, match='is of a run of other '):
        fake_run(tmp_path, record=file, commits=['abd']).check()
