"""Studies as a user runs them: real trainings of two steps, with an untrained teacher."""

import csv
import os
import signal
import subprocess
import sys
from unittest import mock

import pytest

from commands import ENVIRONMENT, HANGS, ROOT
from compare import MISSING, main
from make_mini_dataset import make_dataset
from wkd_det.experiments.shards import Shard
from wkd_det.runtime.config import read_config
from wkd_det.runtime.files import read_json
from wkd_det.testing import save_classifier

DIGITS = 'configs/classification/digits'
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
    teacher = read_config(ROOT / f'{DIGITS}/baseline/resnet20_teacher.py').model
    save_classifier(teacher, folder / 'teacher.pth', bare=True)
    return folder


def write_spec(folder, name, **changes):
    """A spec of the plain student and WKD-L on the digits, two steps long."""
    content = dict(
        work_dir=str(folder / name),
        metric='accuracy/top1',
        seeds=[3],
        length=2,
        references=['plain'],
        overrides={'default_hooks.logger.interval': 1, 'default_hooks.checkpoint.interval': 1},
        methods=dict(
            plain=dict(config=f'{DIGITS}/baseline/resnet8.py'),
            wkd=dict(
                config=f'{DIGITS}/wkd-l_digits.py',
                overrides={'model.teacher.checkpoint': str(folder / 'teacher.pth')},
            ),
        ),
    )
    content.update(changes)
    path = folder / f'{name}.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return path


@pytest.fixture(scope='module')
def compared(workplace):
    """A finished study: its spec and its folders of records and of tables."""
    spec = write_spec(workplace, 'whole')
    os.chdir(ROOT)
    main([str(spec), '--jobs', '2'])
    return spec, workplace / 'results/whole', workplace / 'whole'


def ended(capsys, *arguments):
    """Exit code, or the last sentence, and all that was printed."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code, capsys.readouterr().out


def refused(capsys, *arguments):
    code, output = ended(capsys, *arguments)
    return f'{code}{output}'


def test_writes_records_table_csv_and_figures(compared):
    _, records, folder = compared
    record = read_json(records / 'final/wkd/seed_3.json')
    assert record['commit'] is None
    assert set(record['metrics']) == {'accuracy/top1', 'accuracy/top2'}
    assert record['steps'] == 2
    assert record['cpu_seconds'] > 0
    assert any(name.endswith('teacher.pth') for name in record['files'])
    assert 'wkd_det/losses/wkd_logit.py' in record['code']
    assert (records / 'final/wkd/seed_3.json').stat().st_size < 8000
    table = (folder / 'table.md').read_text()
    assert '| plain | 1 | ' in table
    assert '| wkd | 1 | ' in table
    with (folder / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['stage'], row['method'], row['seed']) for row in rows] == [
        ('final', 'plain', '3'),
        ('final', 'wkd', '3'),
    ]
    assert all(float(row['peak_memory']) > 100 for row in rows)
    assert all(float(row['seconds_per_step']) > 0 for row in rows)
    for name in ('learning_curves.png', 'forest.png'):
        assert (folder / name).read_bytes().startswith(b'\x89PNG')
    assert not list(folder.rglob('*.pth'))
    assert not list(records.rglob('*.lock'))


def test_methods_start_from_the_same_student_on_the_same_data(compared):
    """The first step's task loss is equal to the last digit kept; the second is not."""
    _, records, _ = compared
    losses = {
        name: dict(read_json(records / f'final/{name}/seed_3.json')['losses'])
        for name in ('plain', 'wkd')
    }
    assert losses['plain'][1] == pytest.approx(losses['wkd'][1], rel=1e-5)
    # Window of the logger: the mean of steps 1 and 2, so half of what the second step differs.
    assert losses['plain'][2] != pytest.approx(losses['wkd'][2], rel=1e-5)


def test_finished_runs_are_never_trained_again(compared, capsys, monkeypatch):
    spec, _, folder = compared
    before = (folder / 'table.md').read_text()
    monkeypatch.setattr(subprocess, 'Popen', mock.Mock(side_effect=AssertionError('a process')))
    main([str(spec)])
    assert (folder / 'table.md').read_text() == before
    main([str(spec), '--report-only', '--output', str(folder / 'other')])
    assert (folder / 'other/table.md').read_text() == before


def test_another_config_or_teacher_is_refused(compared, workplace, capsys):
    spec, records, _ = compared
    text = spec.read_text()
    spec.write_text(text.replace('length = 2', 'length = 3'))
    message = refused(capsys, spec)
    assert f'{records}/final/plain/seed_3.json is the record of a run of other length' in message
    assert '--rerun-changed trains such runs again' in message
    spec.write_text(text)
    teacher = workplace / 'teacher.pth'
    kept = teacher.read_bytes()
    teacher.write_bytes(kept + b' ')
    message = refused(capsys, spec)
    assert f'wkd, seed 3: {records}/final/wkd/seed_3.json is of a run of other files {teacher}' in (
        message
    )
    teacher.write_bytes(kept)


def test_a_share_of_the_runs_ends_with_its_own_exit_code(compared, workplace, capsys):
    """All runs but one are there, and it belongs to the other shard."""
    spec, records, _ = compared
    record = records / 'final/wkd/seed_3.json'
    kept = record.read_bytes()
    record.unlink()
    owner = Shard(1, 2).owner('final/wkd/seed_3')
    code, output = ended(capsys, spec, '--shard', f'{3 - owner}/2')
    assert code == MISSING == 3
    assert output.splitlines()[-1] == (
        f'[compare] missing, for others to do: final/wkd/seed_3; of shard {owner}/2'
    )
    record.write_bytes(kept)


@pytest.mark.parametrize('shard', ['0/2', '3/2', 'x'])
def test_wrong_shards(shard, capsys):
    with pytest.raises(SystemExit):
        main(['spec.py', '--shard', shard])
    assert '--shard: a shard must be I/N with 1 <= I <= N' in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['--rerun-changed', '--retry-failed'])
def test_a_report_removes_nothing(flag, capsys):
    with pytest.raises(SystemExit):
        main(['spec.py', '--report-only', flag])
    assert '--report-only trains nothing: leave out' in capsys.readouterr().err


def test_unknown_methods(compared, capsys):
    spec, *_ = compared
    message = refused(capsys, spec, '--only', 'plain', 'kd')
    assert f'only must name methods of {spec}: plain, wkd, got kd' in message


def test_nothing_to_report(workplace, capsys):
    spec = write_spec(workplace, 'empty')
    assert 'nothing to report' in refused(capsys, spec, '--report-only')


def test_mistakes_in_one_sentence(workplace, capsys):
    spec = write_spec(workplace, 'mistake', colour='red')
    assert "unknown keys ['colour']" in refused(capsys, spec)
    assert '[compare] error' in refused(capsys, workplace / 'nowhere.py')
    data = dict(name='data', command=['python', '-c', 'exit(3)'])
    spec = write_spec(workplace, 'data', prepare=[data])
    assert 'data failed with exit code 3' in refused(capsys, spec)
    spec = write_spec(workplace, 'commit', commit='0' * 40)
    assert f'[compare] error: {"0" * 40} is no commit of a repository in ' in refused(capsys, spec)


@pytest.mark.slow
def test_search_failure_and_preparation_of_detectors(tmp_path, capsys):
    """The teacher is trained first, a weight that breaks training loses, its winner is used."""
    make_dataset(tmp_path / 'data', train=8, val=4, size=96, seed=0)
    data = tmp_path / 'data'
    overrides = {
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.data_root': f'{data}/',
        'val_dataloader.dataset.data_root': f'{data}/',
        'val_evaluator.ann_file': f'{data}/annotations/instances_val.json',
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': 1,
    }
    keep = tmp_path / 'results/searched/teacher.pth'
    teacher = dict(
        name='teacher',
        config='configs/mini/faster-rcnn_teacher.py',
        work_dir=str(tmp_path / 'trained'),
        keep=str(keep),
        overrides={'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2},
    )
    methods = dict(
        wkd=dict(
            config='configs/mini/wkd-l.py',
            overrides={'model.teacher.checkpoint': str(keep)},
            weight=WEIGHT,
        ),
    )
    stages = [dict(keys='weight', factors=[0.5, 1e39])]  # infinite in float32
    search = dict(seeds=[8], stages=stages, length=2, widen=0)
    spec = write_spec(
        tmp_path, 'searched', prepare=[teacher], methods=methods, search=search, seeds=[1],
        metric='coco/bbox_mAP', overrides=overrides, references=[],
    )  # fmt: skip
    main([str(spec), '--jobs', '2'])
    output = capsys.readouterr().out
    assert 'is inf' in output
    assert '**0.5: 0.0000**, 1e+39: failed (**at the edge** of the widened grid)' in output
    record = read_json(tmp_path / 'results/searched/final/wkd/seed_1.json')
    assert record['scaled'][0]['factor'] == 0.5
    assert not list(tmp_path.rglob('*/iter_*.pth'))
    assert keep.is_file()
    main([str(spec)])
    again = capsys.readouterr().out
    assert 'step 1/' not in again  # neither the teacher nor what has failed is trained again


@pytest.mark.slow
def test_interrupted_it_ends_in_a_sentence_and_goes_on(workplace):
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
    folder = workplace / 'interrupted/final/plain/seed_3'
    assert (folder / 'last_checkpoint').is_file()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'step 1/6' not in done.stdout.split('wkd, seed 3')[0]
    # As without the interruption: the same seed and length in another folder.
    main([str(write_spec(workplace, 'uninterrupted', length=6))])
    first, second = (
        read_json(workplace / f'results/{name}/final/plain/seed_3.json')
        for name in ('interrupted', 'uninterrupted')
    )
    assert (first['starts'], second['starts']) == (2, 1)
    for part in ('metrics', 'curve', 'losses'):
        assert first[part] == second[part]


@pytest.mark.slow
def test_without_its_last_validation_the_checkpoint_is_tested(workplace):
    spec = write_spec(workplace, 'tested')
    main([str(spec), '--keep-checkpoints'])
    record = workplace / 'results/tested/final/plain/seed_3.json'
    before = read_json(record)
    record.unlink()
    (workplace / 'tested/final/plain/seed_3/validations.jsonl').unlink()
    main([str(spec)])
    assert read_json(record)['metrics'] == before['metrics']
