"""Whole studies of trainings that take no time: search, shards, interruptions, reports."""

import math
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from commands import HANGS
from specs import FAKE_TOOLS, STAGES, fake_search, write_fake, write_spec
from wkd_det.experiments import comparison as module
from wkd_det.experiments import executor, plan, report
from wkd_det.experiments.comparison import Comparison, is_made
from wkd_det.experiments.run import ChangedError, RunError
from wkd_det.experiments.shards import Shard, locked
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.runtime.files import read_json

DRAW = report._draw


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    """Figures take longer than everything else here."""
    monkeypatch.setattr(report, '_draw', lambda *arguments: None)


def study_of(path, **options):
    return Comparison(read_spec(path), tools=FAKE_TOOLS, **options)


def records_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*.json')}


def test_a_study_from_its_search_to_its_table(tmp_path, capsys):
    """The optimum of the plain student lies at weight 2, the edge, so its grid goes on to 4."""
    path = write_spec(tmp_path, search=fake_search(check=dict(length=8)))
    assert study_of(path).run() == []
    output = capsys.readouterr().out
    assert 'all in about' in output
    found = records_in(tmp_path / 'results/spec')
    assert {name for name in found if name.startswith('final')} == {
        f'final/{method}/seed_{seed}.json' for method in ('plain', 'wkd') for seed in (1, 2)
    }
    assert {name for name in found if name.startswith('search/plain')} == {
        f'search/plain/x{weight}_x{rate}_seed_101.json'
        for weight, rate in [(0.5, 1), (1, 1), (2, 1), (4, 1), (2, 0.5), (2, 2)]
    }
    assert {name for name in found if name.startswith('check/plain')} == {
        f'check/plain/x{point}_seed_101.json' for point in ('1_x1', '2_x1', '2_x0.5', '2_x2')
    }
    final = read_json(tmp_path / 'results/spec/final/plain/seed_1.json')
    assert final['values'] == {'model.weight': 2.0, 'optim_wrapper.optimizer.lr': 1.0}
    assert not list((tmp_path / 'work').rglob('*.pth'))
    table = (tmp_path / 'work/spec/table.md').read_text()
    assert '| plain | 2 | 0.5' in table
    assert 'check: x2 x1: ' in table
    assert 'the same winner' in table
    # Nothing is trained again, and the report from a folder with nothing but the records is equal.
    shutil.rmtree(tmp_path / 'work')
    assert study_of(path).run() == []
    assert 'step 1/' not in capsys.readouterr().out
    assert (tmp_path / 'work/spec/table.md').read_text() == table
    study_of(path, output=tmp_path / 'elsewhere').report()
    assert (tmp_path / 'elsewhere/table.md').read_text() == table


def test_shards_do_the_same_as_one_process(tmp_path, capsys):
    search = dict(fake_search(), stages=STAGES[:1])
    study_of(write_spec(tmp_path, 'whole', search=search)).run()
    path = write_spec(tmp_path, 'shared', search=search)
    rounds = 0
    while True:
        rounds += 1
        missing = [study_of(path, shard=Shard(index, 3)).run() for index in (1, 2, 3)]
        if not any(missing):
            break
        assert rounds < 9
    # Searches go on stage by stage, so a share alone cannot end at once.
    assert rounds > 1
    whole, shared = (records_in(tmp_path / 'results' / name) for name in ('whole', 'shared'))
    assert shared == whole
    assert all(
        read_json(tmp_path / 'results/whole' / name)['metrics']
        == read_json(tmp_path / 'results/shared' / name)['metrics']
        for name in whole
    )


def test_a_shard_names_what_others_have_to_do(tmp_path):
    path = write_spec(tmp_path)
    missing = study_of(path, shard=Shard(1, 2)).run()
    assert missing
    assert not any(Shard(1, 2).owns(name) for name in missing)
    done = records_in(tmp_path / 'results/spec')
    assert done | {f'{name}.json' for name in missing} == {
        f'final/{method}/seed_{seed}.json' for method in ('plain', 'wkd') for seed in (1, 2)
    }
    assert not done & {f'{name}.json' for name in missing}
    table = (tmp_path / 'work/spec/table.md').read_text()
    assert f'**Missing**: {len(missing)} of 4 runs of the table: ' in table
    assert all(f'`{name}`' in table for name in missing)


def test_some_methods_first(tmp_path):
    path = write_spec(tmp_path)
    assert study_of(path, only=['wkd']).run() == []
    done = {f'final/wkd/seed_{seed}.json' for seed in (1, 2)}
    assert records_in(tmp_path / 'results/spec') == done
    table = (tmp_path / 'work/spec/table.md').read_text()
    assert '**Missing**: 2 of 4 runs of the table: `final/plain/seed_1`' in table
    assert study_of(path).run() == []
    plain = {f'final/plain/seed_{seed}.json' for seed in (1, 2)}
    assert records_in(tmp_path / 'results/spec') == done | plain


def test_shards_that_wait_end_together(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, 'POLL', 0.05)
    path = write_spec(tmp_path, search=fake_search())
    shares = [study_of(path, shard=Shard(index, 2), waits=True) for index in (1, 2)]
    errors = []

    def run(share):
        try:
            share.executor.execute()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    assert not errors
    assert {name for name in records_in(tmp_path / 'results/spec') if name[:5] == 'final'} == {
        f'final/{method}/seed_{seed}.json' for method in ('plain', 'wkd') for seed in (1, 2)
    }


def test_what_another_process_is_at_work_on_is_left_to_it(tmp_path):
    path = write_spec(tmp_path)
    with locked(tmp_path / 'results/spec/final/wkd/seed_1.json'):
        assert study_of(path).run() == ['final/wkd/seed_1']
    assert study_of(path).run() == []


def test_a_failed_run_of_the_table_does_not_stop_the_others(tmp_path, capsys):
    methods = dict(
        plain=dict(config=write_fake(tmp_path, 'plain')),
        broken=dict(config=write_fake(tmp_path, 'broken', weight=100.0)),
    )
    path = write_spec(tmp_path, methods=methods)
    with pytest.raises(RunError, match='^2 runs have failed, see above; the table lacks them$'):
        study_of(path).run()
    assert 'the loss is inf' in capsys.readouterr().out
    table = (tmp_path / 'work/spec/table.md').read_text()
    assert '| broken | 0 of 2 | missing | missing |' in table
    assert '`final/broken/seed_1`, `final/broken/seed_2`.' in table


def test_a_weight_that_breaks_training_has_lost_until_it_is_tried_again(tmp_path, capsys):
    stages = [dict(keys='weight', factors=[0.1, 1, 100])]
    methods = dict(a=dict(config=write_fake(tmp_path), weight='model.weight'))
    path = write_spec(
        tmp_path, methods=methods, references=None, search=dict(seeds=[101], stages=stages)
    )
    study_of(path).run()
    failed = tmp_path / 'results/spec/search/a/x100_seed_101.json'
    assert read_json(failed)['failed'] == 'FloatingPointError: the loss is inf'
    table = (tmp_path / 'work/spec/table.md').read_text()
    assert '100: failed' in table
    assert '- `search/a/x100_seed_101`: FloatingPointError: the loss is inf\n' in table
    made = failed.stat().st_mtime_ns
    study_of(path).run()
    assert failed.stat().st_mtime_ns == made
    study_of(path, retry=True).run()
    assert failed.stat().st_mtime_ns > made


def test_only_failures_of_the_wanted_methods_are_tried_again(tmp_path):
    stages = [dict(keys='weight', factors=[0.1, 1, 100])]
    config = write_fake(tmp_path)
    methods = {name: dict(config=config, weight='model.weight') for name in ('a', 'b')}
    path = write_spec(
        tmp_path, methods=methods, references=None, search=dict(seeds=[101], stages=stages)
    )
    study_of(path).run()
    failed = {name: tmp_path / f'results/spec/search/{name}/x100_seed_101.json' for name in methods}
    made = {name: file.stat().st_mtime_ns for name, file in failed.items()}
    study_of(path, retry=True, only=['b']).run()
    assert failed['a'].stat().st_mtime_ns == made['a']
    assert failed['b'].stat().st_mtime_ns > made['b']


def test_who_waits_for_others_does_not_wait_for_what_has_failed_here(tmp_path):
    """Nobody else is at work, and the choice can never be made."""
    stages = [dict(keys='weight', factors=[0.1, 1, 1000])]
    methods = dict(a=dict(config=write_fake(tmp_path), weight='model.weight'))
    path = write_spec(
        tmp_path, methods=methods, references=None, search=dict(seeds=[101], stages=stages)
    )
    with pytest.raises(RunError, match='^1 runs have failed, see above'):
        study_of(path, waits=True).run()
    assert not (tmp_path / 'results/spec/search/a/x1000_seed_101.json').exists()


def test_a_search_that_another_study_has_not_ended(tmp_path):
    write_spec(tmp_path, 'first', search=fake_search())
    path = write_spec(tmp_path, 'second', search=dict(of='first.py'))
    message = (
        f'6 runs of the search of {tmp_path}/first.py are missing, which gives the factors: '
        'run that first'
    )
    with pytest.raises(RunError, match=f'^{re.escape(message)}$'):
        study_of(path).run()
    study_of(tmp_path / 'first.py').run()
    assert study_of(path).run() == []


def test_changed_records_of_other_methods_stay(tmp_path):
    def spec(quality):
        methods = {
            name: dict(config=write_fake(tmp_path, name), overrides={'model.quality': quality})
            for name in ('plain', 'wkd')
        }
        return write_spec(tmp_path, methods=methods)

    study_of(spec(0.5)).run()
    results = tmp_path / 'results/spec/final'
    plain = (results / 'plain/seed_1.json').read_bytes()
    study_of(spec(0.7), discard=True, only=['wkd']).run()
    assert (results / 'plain/seed_1.json').read_bytes() == plain
    assert read_json(results / 'wkd/seed_1.json')['metrics']['fake/score'] > 0.7
    assert '| plain | 0 of 2 | missing |' in (tmp_path / 'work/spec/table.md').read_text()
    study_of(spec(0.7), discard=True).run()
    assert read_json(results / 'plain/seed_1.json')['metrics']['fake/score'] > 0.7


def test_another_config_is_refused_until_it_is_asked_for(tmp_path):
    path = write_spec(tmp_path)
    study_of(path).run()
    write_fake(tmp_path, 'plain', best=3.0)
    plan._read_once.cache_clear()  # as in a process of its own
    with pytest.raises(ChangedError, match='is of a run of other config model.best$'):
        study_of(path).run()
    before = records_in(tmp_path / 'results/spec')
    study_of(path, discard=True).run()
    assert records_in(tmp_path / 'results/spec') == before
    record = read_json(tmp_path / 'results/spec/final/plain/seed_1.json')
    assert record['metrics']['fake/score'] == pytest.approx(0.504 - math.log(3) ** 2, abs=0.011)


def test_a_commit_is_demanded_for_training_and_not_for_the_report(tmp_path, monkeypatch):
    path = write_spec(tmp_path, commit='abc')
    asked = []
    monkeypatch.setattr(module, 'check_revision', lambda root, commit: asked.append((root, commit)))
    study_of(path).run()
    # Before anything else, and before each run.
    assert asked == [(FAKE_TOOLS.parent, 'abc')] * 5

    def refuse(root, commit):
        raise AssertionError

    monkeypatch.setattr(module, 'check_revision', refuse)
    study_of(path).report()


def test_nothing_to_report(tmp_path):
    path = write_spec(tmp_path)
    message = f'^nothing to report: there is no record in {tmp_path}/results/spec$'
    with pytest.raises(RunError, match=message):
        study_of(path).report()


def test_a_report_needs_neither_data_nor_work_folder_nor_git(tmp_path, monkeypatch):
    """From a folder that holds spec, configs and records alone, with all figures."""
    monkeypatch.setattr(report, '_draw', DRAW)
    pytest.importorskip('statsmodels')
    bare = tmp_path / 'bare'
    bare.mkdir()
    claims = [dict(name='H1', method='wkd', over='plain')]
    methods = {}
    for name, quality in dict(plain=0.5, wkd=0.7).items():
        write_fake(bare, name, quality=quality)
        methods[name] = dict(config=f'{name}.py')
    path = write_spec(
        bare, methods=methods, hypotheses=claims, commit='abc', work_dir='work', lengths=None
    )
    monkeypatch.chdir(bare)
    comparison = study_of(path)
    comparison.executor.before = lambda: None
    comparison.executor.execute()
    shutil.rmtree(bare / 'work')
    monkeypatch.setenv('PATH', '')
    study_of(Path('spec.py'), output=Path('out')).report()
    table = (bare / 'out/table.md').read_text()
    assert '| H1 | wkd over plain | fake/score ↑ | 2 | +0.2000 [' in table
    assert {file.name for file in (bare / 'out').iterdir()} == {
        'table.md', 'results.csv', 'learning_curves.png', 'forest.png', 'calibration.png',
        'mistakes.png', 'confusion.png',
    }  # fmt: skip


# Preparation


def test_what_a_command_makes_is_made_again_when_it_is_outdated(tmp_path):
    made, needed = tmp_path / 'made', tmp_path / 'needed'
    entry = dict(name='x', command=['python'], makes=str(made), needs=[str(needed)])
    (entry,) = read_spec(write_spec(tmp_path, prepare=[entry])).prepare
    assert not is_made(entry)
    needed.touch()
    made.touch()
    os.utime(needed, (1, 1))
    assert is_made(entry)
    os.utime(made, (0, 0))
    assert not is_made(entry)


def test_two_processes_do_not_make_the_same(tmp_path, capsys):
    made = tmp_path / 'data/made'
    # as make_photo_scenes: the command refuses a folder that is there
    program = f'import os; os.mkdir({str(made.parent)!r}); open({str(made)!r}, "w")'
    entry = dict(name='data', command=['python', '-c', program], makes=str(made))
    path = write_spec(tmp_path, prepare=[entry])
    with locked(made, with_its_folder=True):
        assert study_of(path).run() == ['prepare/data']
    assert not made.exists()
    assert f'another process is at work on {made}' in capsys.readouterr().out
    assert study_of(path).run() == []
    assert made.exists()
    assert not list(tmp_path.glob('.*.lock'))


def with_teacher(folder, **options):
    entry = dict(
        name='teacher',
        config=write_fake(folder, 'teacher'),
        work_dir=str(folder / 'teacher'),
        **options,
    )
    return write_spec(folder, prepare=[entry])


@pytest.fixture
def kept(monkeypatch):
    """Weights are kept by writing a word: the training that takes no time has none."""
    calls = []

    def keep(checkpoint, output):
        calls.append(checkpoint)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text('kept')

    monkeypatch.setattr(module, 'keep_weights', keep)
    return calls


def test_a_teacher_is_trained_once_and_kept_for_everybody(tmp_path, kept, capsys):
    keep = tmp_path / 'results/spec/teacher.pth'
    path = with_teacher(tmp_path, keep=str(keep))
    study_of(path).run()
    assert kept == [tmp_path / 'teacher/iter_4.pth']
    assert read_json(tmp_path / 'results/spec/prepare/teacher.json')['stage'] == 'prepare'
    assert not list((tmp_path / 'teacher').glob('*.pth'))
    shutil.rmtree(tmp_path / 'teacher')  # as on another machine
    capsys.readouterr()
    study_of(path).run()
    assert f'teacher: {keep} is there' in capsys.readouterr().out
    assert len(kept) == 1


def test_a_kept_teacher_is_left_to_the_first_shard(tmp_path, kept, capsys):
    path = with_teacher(tmp_path, keep=str(tmp_path / 'teacher.pth'))
    assert study_of(path, shard=Shard(2, 2)).run() == ['prepare/teacher']
    assert f'{tmp_path}/teacher.pth is missing, which shard 1 makes' in capsys.readouterr().out
    assert kept == []
    study_of(path, shard=Shard(1, 2)).run()
    assert study_of(path, shard=Shard(2, 2)).run() == []


def test_a_teacher_that_is_not_kept_leaves_its_checkpoint(tmp_path, capsys):
    path = with_teacher(tmp_path)
    study_of(path).run()
    checkpoint = tmp_path / 'teacher/iter_4.pth'
    assert checkpoint.is_file()
    capsys.readouterr()
    study_of(path).run()
    assert 'step 1/4' not in capsys.readouterr().out
    checkpoint.unlink()
    (tmp_path / 'teacher/last_checkpoint').unlink()
    study_of(path).run()
    assert checkpoint.is_file()


def test_commands_that_fail(tmp_path):
    for command, message in (
        (['python', '-c', 'exit(3)'], '^data failed with exit code 3$'),
        (['python', '-c', ''], f'^data did not make {tmp_path}/made$'),
    ):
        entry = dict(name='data', command=command, makes=str(tmp_path / 'made'))
        with pytest.raises(RunError, match=message):
            study_of(write_spec(tmp_path, prepare=[entry])).run()
