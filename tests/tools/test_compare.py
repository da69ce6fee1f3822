"""The comparison as a user runs it, on a small mini set with an untrained teacher."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from unittest import mock

import pytest
from mmengine.config import Config

from commands import ENVIRONMENT, HANGS, ROOT
from compare import main
from make_mini_dataset import CLASSES, make_dataset
from wkd_det.runtime.files import read_json, write_json
from wkd_det.testing import save_detector

WEIGHT = 'model.distill.loss_wkd_l.loss.loss_weight'


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp('compare')
    make_dataset(folder / 'data', train=8, val=4, size=96, seed=0)
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
    save_detector(config.model, folder / 'teacher.pth', class_names=list(CLASSES))
    return folder


def write_spec(folder, name, **changes):
    """A spec of the plain student and WKD-L, two steps long."""
    data = folder / 'data'
    teacher = {'model.teacher.checkpoint': str(folder / 'teacher.pth')}
    content = dict(
        work_dir=str(folder / name),
        metric='coco/bbox_mAP',
        seeds=[3],
        length=2,
        references=['plain'],
        overrides={
            'train_dataloader.batch_size': 4,
            'train_dataloader.dataset.data_root': f'{data}/',
            'val_dataloader.dataset.data_root': f'{data}/',
            'val_evaluator.ann_file': f'{data}/annotations/instances_val.json',
            'default_hooks.logger.interval': 1,
            'default_hooks.checkpoint.interval': 1,
        },
        methods=dict(
            plain=dict(config='configs/mini/faster-rcnn_student.py'),
            wkd=dict(config='configs/mini/wkd-l.py', overrides=teacher, weight=WEIGHT),
        ),
    )
    content.update(changes)
    path = folder / f'{name}.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return path


@pytest.fixture(scope='module')
def compared(workplace):
    """A finished comparison: its spec and work folder."""
    spec = write_spec(workplace, 'whole')
    os.chdir(ROOT)
    main([str(spec), '--jobs', '2'])
    return spec, workplace / 'whole'


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return str(exit_.value) + capsys.readouterr().out


def test_writes_table_csv_and_plots(compared):
    _, folder = compared
    table = (folder / 'table.md').read_text()
    assert '| plain | 1 | ' in table
    assert '| wkd | 1 | ' in table
    with (folder / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['stage'], row['method'], row['seed']) for row in rows] == [
        ('final', 'plain', '3'),
        ('final', 'wkd', '3'),
    ]
    assert all(float(row['peak_memory_mib']) > 100 for row in rows)
    assert all(float(row['seconds_per_step']) > 0 for row in rows)
    for name in ('learning_curves.png', 'forest.png'):
        assert (folder / name).read_bytes().startswith(b'\x89PNG')


def test_methods_start_from_the_same_student_on_the_same_data(compared):
    """The first step's task loss is equal to the last digit logged; the second is not."""
    _, folder = compared
    losses = {
        name: read_json(folder / f'runs/{name}/seed_3/harness/result.json')['losses']
        for name in ('plain', 'wkd')
    }
    assert losses['plain']['1'] == pytest.approx(losses['wkd']['1'], rel=1e-6)
    # Window of the logger: the mean of steps 1 and 2, so half of what the second step differs.
    assert losses['plain']['2'] != pytest.approx(losses['wkd']['2'], rel=1e-6)


def test_finished_runs_are_reused(compared, capsys, monkeypatch):
    spec, folder = compared
    before = (folder / 'table.md').read_text()
    monkeypatch.setattr(subprocess, 'Popen', mock.Mock(side_effect=AssertionError('a process')))
    main([str(spec)])
    assert '2 runs, 2 of them finished before' in capsys.readouterr().out
    assert (folder / 'table.md').read_text() == before
    main([str(spec), '--report-only'])
    assert (folder / 'table.md').read_text() == before


def test_other_config_or_data_is_refused(compared, workplace, capsys):
    spec, folder = compared
    text = spec.read_text()
    spec.write_text(text.replace("batch_size': 4", "batch_size': 2"))
    message = refused(capsys, spec)
    assert 'holds a run of other config train_dataloader.batch_size' in message
    assert '--rerun-changed' in message
    spec.write_text(text)
    manifest = workplace / 'data/dataset.json'
    kept = manifest.read_text()
    manifest.write_text(kept + '\n')
    assert f'holds a run of other files {manifest}' in refused(capsys, spec)
    manifest.write_text(kept)


def test_results_of_different_code_are_not_reported_together(compared, capsys):
    spec, folder = compared
    file = folder / 'runs/wkd/seed_3/harness/fingerprint.json'
    kept = read_json(file)
    changed = dict(kept, versions=dict(kept['versions'], torch='0'))
    write_json(file, changed)
    message = refused(capsys, spec, '--report-only')
    assert 'plain, seed 3 and wkd, seed 3 are results of different versions: torch' in message
    write_json(file, kept)


def test_checkpoints_of_unknown_origin_are_refused(workplace, capsys):
    spec = write_spec(workplace, 'strange')
    folder = workplace / 'strange/runs/plain/seed_3'
    folder.mkdir(parents=True)
    (folder / 'iter_2.pth').write_bytes(b'')
    assert 'holds checkpoints of unknown origin' in refused(capsys, spec)


def test_nothing_to_report(workplace, capsys):
    spec = write_spec(workplace, 'empty')
    assert 'nothing to report' in refused(capsys, spec, '--report-only')


def test_mistakes_in_one_sentence(workplace, capsys):
    spec = write_spec(workplace, 'mistake', colour='red')
    assert "unknown keys ['colour']" in refused(capsys, spec)
    assert '[compare] error' in refused(capsys, workplace / 'nowhere.py')
    spec = write_spec(
        workplace, 'data', prepare=[dict(name='data', command=['python', '-c', 'exit(3)'])]
    )
    assert 'data failed with exit code 3' in refused(capsys, spec)


@pytest.mark.slow
def test_search_failure_and_preparation(workplace, capsys):
    """The teacher is trained first, a weight that breaks training loses, its winner is used."""
    teacher = dict(
        name='teacher',
        config='configs/mini/faster-rcnn_teacher.py',
        work_dir=str(workplace / 'trained'),
        overrides={'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2},
    )
    checkpoint = {'model.teacher.checkpoint': str(workplace / 'trained/iter_2.pth')}
    methods = dict(
        plain=dict(config='configs/mini/faster-rcnn_student.py'),
        wkd=dict(config='configs/mini/wkd-l.py', overrides=checkpoint, weight=WEIGHT),
    )
    search = dict(seeds=[8], factors=[0.5, 1e39], length=2)  # 1e39 is infinite in float32
    spec = write_spec(
        workplace, 'searched', prepare=[teacher], methods=methods, search=search, seeds=[1]
    )
    main([str(spec), '--jobs', '2'])
    output = capsys.readouterr().out
    assert 'is inf' in output
    assert '**0.5: 0.0000**, 1e+39: failed' in output
    folder = workplace / 'searched'
    config = read_json(folder / 'runs/wkd/seed_1/harness/fingerprint.json')['config']
    assert config['model']['distill']['loss_wkd_l']['loss']['loss_weight'] == 0.5
    assert not list((folder / 'search').rglob('*.pth'))
    main([str(spec)])
    again = capsys.readouterr().out
    assert 'step 1/' not in again  # neither the teacher nor what has failed is trained again


@pytest.mark.slow
def test_interrupted_it_ends_in_a_sentence_and_goes_on(workplace, compared):
    spec = write_spec(workplace, 'interrupted', length=6)
    command = [sys.executable, str(ROOT / 'tools/compare.py'), str(spec)]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout:
        if 'step 3/6' in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=HANGS)[0]
    assert 'the same command goes on' in rest.splitlines()[-1]
    assert 'Traceback' not in rest
    folder = workplace / 'interrupted/runs/plain/seed_3'
    begun = (folder / 'last_checkpoint').read_text()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'step 1/6' not in done.stdout.split('wkd, seed 3')[0]
    assert read_json(folder / 'harness/result.json')['starts'] == 2
    assert begun
    # As without the interruption: the same seed and length in another folder.
    other = write_spec(workplace, 'uninterrupted', length=6)
    main([str(other)])
    results = [
        read_json(workplace / name / 'runs/plain/seed_3/harness/result.json')
        for name in ('interrupted', 'uninterrupted')
    ]
    assert results[0]['metrics'] == results[1]['metrics']
    # Without the last validation the checkpoint is tested instead.
    shutil.rmtree(workplace / 'again', ignore_errors=True)
    shutil.copytree(workplace / 'uninterrupted', workplace / 'again')
    copy = workplace / 'again/runs/plain/seed_3'
    (copy / 'harness/result.json').unlink()
    for file in copy.glob('*/vis_data/scalars.json'):
        lines = [line for line in file.read_text().splitlines() if 'coco/bbox_mAP' not in line]
        file.write_text('\n'.join(lines))
    main([str(write_spec(workplace, 'again', length=6))])
    assert read_json(copy / 'harness/result.json')['metrics'] == results[1]['metrics']
