"""States of studies from their records: what is chosen, missing, and refused."""

import math
import re

import pytest

from specs import STAGES, fake_search, record, write_fake, write_records, write_spec
from wkd_det.experiments.records import write_record
from wkd_det.experiments.run import ChangedError
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import CHECK, FINAL, SEARCH, Key, Study, check_together, length_of


def write(study, key, score, **changes):
    write_record(study.path(key), record(study.spec, key, score, **changes))


def answer(study, score, methods=('plain', 'wkd'), stages=(SEARCH, CHECK)):
    """Write records of a search until it knows all it needs."""
    while True:
        keys = [key for key in study.pending() if key.stage in stages and key.method in methods]
        if not keys:
            return
        for key in keys:
            write(study, key, score(key))


def at_one(key):
    return -sum(abs(math.log(factor)) for factor in key.point)


def test_keys_name_their_records():
    assert Key(SEARCH, 'kd', (0.3, 1.0), 101).name == 'search/kd/x0.3_x1_seed_101'
    assert Key(CHECK, 'kd', (9.0,), 101).name == 'check/kd/x9_seed_101'
    assert Key(FINAL, 'kd', (0.3, 1.0), 1).name == 'final/kd/seed_1'


def test_without_a_search_all_runs_can_begin_seed_by_seed(tmp_path):
    spec = write_spec(tmp_path)
    study = Study(read_spec(spec))
    assert [key.name for key in study.pending()] == [
        'final/plain/seed_1', 'final/wkd/seed_1', 'final/plain/seed_2', 'final/wkd/seed_2',
    ]  # fmt: skip
    assert study.later() == []
    study = write_records(spec, dict(plain={1: 0.5}, wkd={1: 0.6, 2: 0.7}))
    assert [key.name for key in study.pending()] == ['final/plain/seed_2']
    assert {name: list(runs) for name, runs in study.results().items()} == {
        'plain': [1],
        'wkd': [1, 2],
    }


def test_a_method_goes_on_as_soon_as_its_own_search_is_complete(tmp_path):
    study = Study(read_spec(write_spec(tmp_path, search=fake_search())))
    assert {(key.stage, key.method, key.point) for key in study.pending()} == {
        (SEARCH, method, (factor, 1)) for method in ('plain', 'wkd') for factor in (0.5, 1, 2)
    }
    later = study.later()
    assert len([key for key in later if key.stage == SEARCH]) == 4
    assert [key.name for key in later if key.stage == FINAL] == [
        'final/plain/seed_1', 'final/wkd/seed_1', 'final/plain/seed_2', 'final/wkd/seed_2',
    ]  # fmt: skip
    answer(study, lambda key: -abs(math.log(key.point[0] / 2)), methods=['wkd'])
    assert study.choice(study.spec.method('wkd')).chosen == (2, 1)  # widened to 4
    assert study.choice(study.spec.method('plain')).chosen is None
    keys = study.pending()
    assert {key.stage for key in keys if key.method == 'plain'} == {SEARCH}
    assert [key.point for key in keys if key.method == 'wkd'] == [(2, 1), (2, 1)]
    assert {key.stage for key in keys if key.method == 'wkd'} == {FINAL}


def test_the_check_decides_and_says_whether_it_agrees(tmp_path):
    search = fake_search(length=2, check=dict(length=9))
    study = Study(read_spec(write_spec(tmp_path, search=search)))
    answer(study, at_one, stages=[SEARCH])
    checks = study.pending()
    assert [key.name for key in checks] == [
        'check/plain/x1_x1_seed_101', 'check/plain/x0.5_x1_seed_101',
        'check/wkd/x1_x1_seed_101', 'check/wkd/x0.5_x1_seed_101',
    ]  # fmt: skip
    for key, score in zip(checks, (3.0, 2.0, 3.0, 4.0)):
        write(study, key, score)
    # Both neighbours of the best point of the check, in the last stage, until it lies inside.
    neighbours = study.pending()
    assert [key.name for key in neighbours] == [
        'check/plain/x1_x0.5_seed_101', 'check/plain/x1_x2_seed_101',
        'check/wkd/x0.5_x0.5_seed_101', 'check/wkd/x0.5_x2_seed_101',
    ]  # fmt: skip
    for key, score in zip(neighbours, (1.0, 2.0, 5.0, 3.0)):
        write(study, key, score)
    assert [key.name for key in study.pending() if key.stage == CHECK] == [
        'check/wkd/x0.5_x0.25_seed_101'
    ]
    write(study, Key(CHECK, 'wkd', (0.5, 0.25), 101), 4.5)
    plain, wkd = (study.choice(method) for method in study.spec.methods)
    assert (plain.chosen, plain.score, plain.agrees) == ((1, 1), 3.0, True)
    assert (wkd.chosen, wkd.score, wkd.agrees) == ((0.5, 0.5), 5.0, False)
    assert not plain.at_limit
    assert not wkd.at_limit
    assert set(wkd.check) == {(1, 1), (0.5, 1), (0.5, 0.5), (0.5, 2), (0.5, 0.25)}


def test_a_check_does_not_go_on_for_ever(tmp_path):
    search = fake_search(length=2, widen=1, check=dict(length=9))
    study = Study(read_spec(write_spec(tmp_path, search=search)))
    answer(study, at_one, stages=[SEARCH])
    answer(study, lambda key: key.point[1])  # the higher the rate, the better
    choice = study.choice(study.spec.methods[0])
    assert (choice.chosen, choice.at_limit) == ((1, 2), True)


@pytest.mark.parametrize(
    ('lengths', 'check', 'wanted'),
    [
        (dict(length=6), dict(length=3), (9, 9, 18)),
        (dict(length=6), {}, (9, 18, 18)),
        (dict(length=40), {}, (1, 18, 18)),
        ({}, dict(length=3), (3, 3, 18)),  # nobody knows how long the others are
    ],
)
def test_a_method_of_its_own_length_is_searched_at_the_same_share(tmp_path, lengths, check, wanted):
    methods = dict(long=dict(config=write_fake(tmp_path), weight='model.weight', length=18))
    search = fake_search(length=3, check=check)
    path = write_spec(tmp_path, methods=methods, references=None, search=search, **lengths)
    spec = read_spec(path)
    stages = (SEARCH, CHECK, FINAL)
    assert tuple(length_of(spec, Key(stage, 'long', (1, 1), 101)) for stage in stages) == wanted


def test_factors_may_be_those_of_another_method_or_study(tmp_path):
    config = write_fake(tmp_path)
    methods = dict(
        plain=dict(config=config, weight='model.weight'),
        long=dict(config=config, weight='model.weight', like='plain', length=9, seeds=[1]),
    )
    first = Study(
        read_spec(
            write_spec(tmp_path, 'first', methods=methods, search=fake_search(), references=None)
        )
    )
    answer(first, lambda key: at_one(key) if key.point[0] == 2 else -9, methods=['plain'])
    assert first.choice(first.spec.method('long')).chosen == (2, 1)
    assert [(key.method, key.seed, key.point) for key in first.pending()] == [
        ('plain', 1, (2, 1)), ('long', 1, (2, 1)), ('plain', 2, (2, 1)),
    ]  # fmt: skip
    second = write_spec(
        tmp_path, 'second', methods=methods, search=dict(of='first.py'), references=None, seeds=[1]
    )
    pending = Study(read_spec(second)).pending()
    assert [(key.method, key.point) for key in pending] == [('plain', (2, 1)), ('long', (2, 1))]


def test_only_some_methods_and_the_searches_that_they_borrow(tmp_path):
    config = write_fake(tmp_path)
    methods = {
        name: dict(config=config, weight='model.weight', **more)
        for name, more in dict(plain={}, wkd={}, long=dict(like='plain')).items()
    }
    spec = read_spec(write_spec(tmp_path, methods=methods, search=fake_search()))
    study = Study(spec)
    assert {(key.stage, key.method) for key in study.pending(['long'])} == {(SEARCH, 'plain')}
    assert {(key.stage, key.method) for key in study.later(['long'])} == {
        (SEARCH, 'plain'),
        (FINAL, 'long'),
    }
    answer(study, at_one)
    finals = [key.name for key in study.pending(['long'])]
    assert finals == ['final/long/seed_1', 'final/long/seed_2']
    assert not study.later(['long'])
    assert {key.method for key in study.pending()} == {'plain', 'wkd', 'long'}


def test_all_of_a_search_have_failed(tmp_path):
    study = Study(read_spec(write_spec(tmp_path, search=fake_search())))
    for key in study.pending():
        write(study, key, 0.0, metrics={}, failed='the loss is inf')
    message = r'^plain: no factor to choose: the runs with \[0.5, 1.0, 2.0\] have all failed$'
    with pytest.raises(ValueError, match=message):
        study.pending()


def test_a_nan_in_a_record_is_a_failure(tmp_path):
    study = Study(read_spec(write_spec(tmp_path, search=fake_search())))
    answer(study, lambda key: math.nan if key.point[0] > 1 else at_one(key))
    assert study.choice(study.spec.methods[0]).chosen == (1, 1)


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (dict(commit='abc'), 'commit'),
        (dict(length=9), 'length'),
        (dict(overrides={'model.quality': 1}), 'overrides model.quality'),
    ],
)
def test_a_record_of_another_spec_is_refused_or_removed(tmp_path, changes, named):
    write_records(write_spec(tmp_path), dict(plain={1: 0.5}))
    path = tmp_path / 'results/spec/final/plain/seed_1.json'
    spec = read_spec(write_spec(tmp_path, **changes))
    message = f'{path} is the record of a run of other {named}'
    with pytest.raises(ChangedError, match=f'^{re.escape(message)}$'):
        Study(spec).pending()
    study = Study(spec, discard=True)
    assert len(study.pending()) == 4
    assert path.exists()  # until that run begins
    study.remove_changed(Key(FINAL, 'plain', (), 1))
    assert not path.exists()


def test_a_record_that_counts_is_not_removed(tmp_path):
    study = write_records(write_spec(tmp_path), dict(plain={1: 0.5}))
    study.discard = True
    key = Key(FINAL, 'plain', (), 1)
    study.remove_changed(key)
    assert study.record(key) is not None


def test_a_metric_that_records_do_not_have(tmp_path):
    write_records(write_spec(tmp_path), dict(plain={1: 0.5}))
    study = Study(read_spec(write_spec(tmp_path, metric='fake/scroe')))
    message = "final/plain/seed_1.json has no fake/scroe; it has ['fake/score']"
    with pytest.raises(ValueError, match=f'{re.escape(message)}$'):
        study.results()


def test_all_records_are_known_whatever_was_asked_before(tmp_path):
    path = write_spec(tmp_path, search=fake_search(), references=None)
    answer(Study(read_spec(path)), at_one)
    study = Study(read_spec(path))
    assert study.seen() == {}
    assert {key.stage for key in study.records()} == {SEARCH}
    assert len(study.records()) == 10


def test_a_record_of_other_factors_is_refused(tmp_path):
    path = write_spec(tmp_path, search=fake_search(), references=None)
    study = Study(read_spec(path))
    answer(study, at_one)
    write_records(path, dict(plain={1: 0.5}))
    stages = [dict(keys='weight', factors=[1, 4, 16]), STAGES[1]]
    other = write_spec(tmp_path, search=dict(seeds=[101], stages=stages), references=None)
    again = Study(read_spec(other))
    with pytest.raises(ChangedError, match='seed_1.json is the record .* of other scaled 0.factor'):
        answer(again, lambda key: 1 - abs(math.log(key.point[0] / 4)))


def test_records_that_do_not_belong_together(tmp_path):
    spec = write_spec(tmp_path)
    write_records(spec, dict(plain={1: 0.5}))
    study = write_records(spec, dict(wkd={1: 0.5}), versions=dict(torch='2', python='3'))
    study.results()
    message = 'final/plain/seed_1 and final/wkd/seed_1 are records of different versions: torch'
    with pytest.raises(ChangedError, match=f'^{message}$'):
        check_together(study.records())
    spec = write_spec(tmp_path, 'fixed', commit='abc')
    write_records(spec, dict(plain={1: 0.5}))
    study = write_records(spec, dict(wkd={1: 0.5}), versions=dict(torch='2', python='3'))
    study.results()
    check_together(study.records())
    study = write_records(spec, dict(wkd={2: 0.5}), files={'teacher.pth': 'u'})
    study.results()
    with pytest.raises(ChangedError, match='seed_2 are records of different files: teacher.pth$'):
        check_together(study.records())
