"""Reports from records: tables by their words, files, and what is missing."""

import csv
import io
import math

import pytest

from specs import STAGES, fake_search, record, write_fake, write_records, write_spec
from wkd_det.experiments import report
from wkd_det.experiments.hypotheses import verdicts
from wkd_det.experiments.records import write_record
from wkd_det.experiments.report import csv_text, write_report
from wkd_det.experiments.run import ChangedError, RunError
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import SEARCH, Key, Study
from wkd_det.experiments.tables import (
    claims_table,
    machines_table,
    main_table,
    missing_list,
    search_table,
    summarise,
)

VALUES = dict(plain={1: 0.2, 2: 0.4}, wkd={1: 0.3, 2: 0.52})


def table(study):
    return main_table(study.spec, summarise(study, study.results())).splitlines()


def test_table(tmp_path):
    study = write_records(write_spec(tmp_path), VALUES)
    half = 12.706205 * 0.01  # t(0.975, 1) times the standard error of 0.10 and 0.12
    assert table(study) == [
        '| method | seeds | fake/score ↑ | minus plain [95 %] | CPU s / run | s / step | extra '
        'memory (MiB) |',
        '| --- | --- | --- | --- | --- | --- | --- |',
        '| plain | 2 | 0.3000 ± 0.1414 |  | 2 | 0.500 | +0 |',
        f'| WKD-L | 2 | 0.4100 ± 0.1556 | +0.1100 [{0.11 - half:+.4f}, {0.11 + half:+.4f}], 2/2 '
        'above | 2 | 0.500 | +0 |',
    ]


def test_costs_on_different_machines_are_compared_in_units_of_each(tmp_path):
    path = write_spec(tmp_path)
    slow, quick = (dict(processor='abacus', cores=2, threads=1, unit_cpu_seconds=unit)
                   for unit in (0.5, 0.1))  # fmt: skip
    write_records(path, dict(plain={1: 0.2}), machine=slow, cpu_seconds=100.0)
    write_records(path, dict(plain={2: 0.4}), machine=quick, cpu_seconds=20.0)
    study = write_records(path, dict(wkd={1: 0.3, 2: 0.5}), machine=quick, cpu_seconds=30.0)
    assert table(study)[0].endswith(
        '| CPU s / run | CPU, relative | s / step | extra memory (MiB) |'
    )
    assert table(study)[2].endswith('| 60 | 1.00 | 0.500 | +0 |')
    assert table(study)[3].endswith('| 30 | 1.50 | 0.500 | +0 |')


def test_costs_are_not_compared_if_a_record_does_not_know_its_unit(tmp_path):
    path = write_spec(tmp_path)
    quick = dict(processor='abacus', cores=2, threads=1, unit_cpu_seconds=0.1)
    write_records(path, dict(plain={1: 0.2, 2: 0.4}), machine=quick)
    write_records(path, dict(wkd={1: 0.3}), machine=quick)
    assert 'CPU, relative' in table(Study(read_spec(path)))[0]
    study = write_records(path, dict(wkd={2: 0.3}))
    assert table(study)[2].endswith('| 2 | 1.00 | 0.500 | +0 |')
    assert table(study)[3].endswith('| 2 |  | 0.500 | +0 |')


def test_missing_cells_are_printed_as_missing(tmp_path):
    path = write_spec(tmp_path, metrics=[dict(key='fake/loss', title='loss', higher=False)])
    study = write_records(path, dict(wkd={2: 0.3}), peak_memory=None)
    assert table(study)[2:] == [
        '| plain | 0 of 2 | missing |  | missing |  |  |  |',
        '| WKD-L | 1 of 2 | 0.3000 | missing | missing | 2 | 0.500 |  |',
    ]
    assert missing_list(study, study.pending(), study.later()) == (
        '**Missing**: 3 of 4 runs of the table: `final/plain/seed_1`, `final/wkd/seed_1`, '
        '`final/plain/seed_2`.'
    )


def test_many_missing_runs_are_counted(tmp_path):
    study = write_records(write_spec(tmp_path, seeds=list(range(20))), dict(wkd={2: 0.3}))
    assert missing_list(study, study.pending(), []) == (
        '**Missing**: 39 of 40 runs of the table: `final/plain` 20, `final/wkd` 19.'
    )


def test_digits_exploratory_methods_and_further_columns(tmp_path):
    claims = [dict(name='H', method='wkd', over='plain')]
    methods = {name: dict(config=write_fake(tmp_path, name)) for name in ('plain', 'wkd', 'third')}
    column = dict(key='fake/loss', title='loss', higher=False, digits=1)
    path = write_spec(
        tmp_path, methods=methods, hypotheses=claims, metrics=[column], digits=2, references=None
    )
    study = write_records(
        path, dict(third={1: 0.5}), metrics={'fake/score': 0.126, 'fake/loss': 3.21}
    )
    lines = table(study)
    assert lines[0].startswith('| method | seeds | fake/score ↑ | loss ↓ | CPU')
    assert lines[4].startswith('| third \\* | 1 of 2 | 0.13 | 3.2 |')
    assert not any('\\*' in line for line in lines[:4])


def test_hypotheses_in_words(tmp_path):
    pytest.importorskip('statsmodels')
    claims = [
        dict(name='H1', title='more', method='wkd', over='plain'),
        dict(name='H2', method='wkd', over='plain', margin=0.5),
        dict(name='H3', method='third', over='plain'),
    ]
    methods = {
        name: dict(config=write_fake(tmp_path, name), title=name.upper())
        for name in ('plain', 'wkd', 'third')
    }
    path = write_spec(tmp_path, methods=methods, hypotheses=claims)
    study = write_records(path, VALUES)
    lines = claims_table(verdicts(study, study.results())).splitlines()
    # p of the differences 0.10 and 0.12: t is 11 and 61, with one degree of freedom.
    p = [2 * (0.5 - math.atan(t) / math.pi) for t in (11, 61)]
    assert lines[2] == (
        '| H1: more | WKD over PLAIN | fake/score ↑ | 2 | +0.1100 [-0.0171, +0.2371], 2/2 above | '
        f'{p[0]:.4f} | {2 * p[0]:.4f} | not supported |'
    )
    assert lines[3].endswith(f'| {p[1]:.4f} | {3 * p[1]:.4f} | supported |')
    assert '| WKD over PLAIN, no worse by 0.5 |' in lines[3]
    assert (
        lines[4] == '| H3 | THIRD over PLAIN | fake/score ↑ | 0 of 2 | missing |  |  | incomplete |'
    )


def searched(folder, score, **options):
    study = Study(read_spec(write_spec(folder, search=fake_search(**options))))
    while keys := [key for key in study.pending() if key.stage != 'final']:
        for key in keys:
            value = score(key)
            changes = dict(metrics={}, failed='inf') if value is None else {}
            values = {'model.weight': 2 * key.point[0]}
            write_record(
                study.path(key), record(study.spec, key, value or 0.0, values=values, **changes)
            )
    return study


def test_the_search_is_in_the_record(tmp_path):
    study = searched(
        tmp_path,
        lambda key: None if key.point[0] < 1 else key.point[0] - key.point[1] ** 2,
        widen=1,
    )
    lines = search_table(study, study.records()).splitlines()
    assert lines[2] == (
        '| plain | 1) 0.5: failed, 1: 0.0000, 2: 1.0000, **4: 3.0000** (**at the edge** of the '
        'widened grid)<br>2) **0.25: 3.9375**, 0.5: 3.7500, 1: 3.0000, 2: 0.0000 (**at the edge** '
        'of the widened grid) | x4 x0.25: `model.weight` 8 |'
    )


def test_a_check_that_ends_before_its_best_is_inside(tmp_path):
    study = searched(
        tmp_path,
        lambda key: key.point[1] * (1 if key.stage == 'check' else -1),
        length=2,
        widen=0,
        check=dict(length=9),
    )
    assert (
        '<br>check: x1 x0.5: 0.5000, x1 x1: 1.0000: another winner (**its best has a neighbour '
        'left**) |'
    ) in search_table(study, study.records()).splitlines()[2]


def test_a_search_that_is_not_complete(tmp_path):
    study = Study(read_spec(write_spec(tmp_path, search=fake_search())))
    for key in study.pending()[:1]:
        write_record(study.path(key), record(study.spec, key, 0.5))
    assert search_table(study, study.records()).splitlines()[2] == '| plain |  | not yet |'
    text = write_report(study, tmp_path / 'out')
    assert (
        '**Missing**: 4 of 4 runs of the table, and 5 runs of searches that are under way' in text
    )
    assert not (tmp_path / 'out/forest.png').exists()


def test_factors_of_others_are_said_to_be_theirs(tmp_path):
    searched(tmp_path, lambda key: -abs(math.log(key.point[0] * key.point[1])))
    path = write_spec(tmp_path, 'second', search=dict(of='spec.py'))
    study = Study(read_spec(path))
    lines = search_table(study, study.records()).splitlines()
    assert lines[2] == '| plain | as plain | x1 x1 |'


def test_machines_and_what_they_took(tmp_path):
    path = write_spec(tmp_path)
    write_records(path, dict(plain={1: 0.5, 2: 0.5}), cpu_seconds=900.0)
    machine = dict(processor='loom', cores=8, threads=2, platform='wool')
    write_records(path, dict(wkd={2: 0.5}), machine=machine, cpu_seconds=None)
    study = write_records(path, dict(wkd={1: 0.5}), machine=machine, cpu_seconds=36.0)
    study.results()
    assert machines_table(study.records()).splitlines() == [
        '| processor | threads of cores | torch, Python | runs | core hours |',
        '| --- | --- | --- | --- | --- |',
        '| abacus | 1 of 2 | 1, 3 | 2 | 0.50 |',
        '| loom | 2 of 8 | 1, 3 | 2 | > 0.01 |',
    ]


def test_csv_has_a_line_for_each_record(tmp_path):
    study = searched(tmp_path, lambda key: -abs(math.log(key.point[0] * key.point[1])))
    write_records(study.spec.path, dict(plain={1: 0.5}), commit=None, seconds_per_step=None)
    study.results()
    rows = list(csv.DictReader(io.StringIO(csv_text(study, study.records()))))
    assert list(rows[0])[:5] == ['stage', 'method', 'factors', 'seed', 'fake/score']
    final = rows[0]
    assert (final['stage'], final['method'], final['factors']) == ('final', 'plain', '1 1')
    assert (final['seed'], final['fake/score'], final['seconds_per_step']) == ('1', '0.5', '')
    assert [row['factors'] for row in rows if row['method'] == 'wkd'] == [
        '0.5 1', '1 0.5', '1 1', '1 2', '2 1',
    ]  # fmt: skip
    assert {row['stage'] for row in rows[1:]} == {SEARCH}


def test_a_report_is_the_same_each_time(tmp_path):
    write_records(write_spec(tmp_path, commit='abc'), VALUES)  # count for abd as well
    study = Study(read_spec(write_spec(tmp_path, title='A study', commit=['abd', 'abc'])))
    text = write_report(study, tmp_path / 'a')
    assert text.startswith('# A study\n\n`python tools/compare.py ')
    assert 'Seeds 1, 2, commit abd, abc. Mean ± standard deviation over seeds; ' in text
    write_report(Study(study.spec), tmp_path / 'b')
    names = {path.name for path in (tmp_path / 'a').iterdir()}
    assert names == {'table.md', 'results.csv', 'learning_curves.png', 'forest.png'}
    for name in names:
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_what_cannot_be_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(report, '_draw', lambda *arguments: None)
    path = write_spec(tmp_path)
    message = f'^nothing to report: there is no record in {tmp_path}/results/spec$'
    with pytest.raises(RunError, match=message):
        write_report(Study(read_spec(path)), tmp_path)
    write_records(path, dict(plain={1: 0.5}))
    study = write_records(path, dict(wkd={1: 0.5}), code={'wkd_det/a.py': 'b'})
    message = 'final/plain/seed_1 and final/wkd/seed_1 are records of different code: wkd_det/a.py'
    with pytest.raises(ChangedError, match=f'^{message}$'):
        write_report(study, tmp_path)


def test_a_search_of_one_stage_names_its_points(tmp_path):
    methods = dict(a=dict(config=write_fake(tmp_path), weight='model.weight'))
    path = write_spec(
        tmp_path, methods=methods, search=dict(seeds=[9], stages=STAGES[:1]), references=None
    )
    assert Study(read_spec(path)).pending()[0] == Key(SEARCH, 'a', (0.5,), 9)
