"""Hypotheses: what is compared, and what becomes of each."""

import math

import pytest
from scipy.stats import ttest_rel

from specs import fake_search, record, write_fake, write_records, write_spec
from wkd_det.experiments.hypotheses import (
    INCOMPLETE,
    OPEN,
    REFUTED,
    SUPPORTED,
    best_rival,
    verdicts,
)
from wkd_det.experiments.records import write_record
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import SEARCH, Study

pytest.importorskip('statsmodels')

PLAIN = {1: 0.50, 2: 0.52, 3: 0.49, 4: 0.51}
BETTER = {1: 0.60, 2: 0.63, 3: 0.585, 4: 0.61}
SEEDS = [1, 2, 3, 4]


def judged(folder, claims, values, **options):
    path = write_spec(folder, seeds=SEEDS, hypotheses=claims, **options)
    study = write_records(path, values)
    return verdicts(study, study.results())


def test_supported_and_refuted_are_two_sides(tmp_path):
    claims = [
        dict(name='H1', method='wkd', over='plain'),
        dict(name='H2', method='plain', over='wkd'),
    ]
    first, second = judged(tmp_path, claims, dict(plain=PLAIN, wkd=BETTER))
    values = [[scores[seed] for seed in SEEDS] for scores in (BETTER, PLAIN)]
    assert first.p == pytest.approx(ttest_rel(*values).pvalue)
    assert first.adjusted == pytest.approx(2 * first.p)
    assert (first.outcome, second.outcome) == (SUPPORTED, REFUTED)
    assert (first.title, first.rival, first.planned) == ('WKD-L', 'plain', 4)
    assert (second.p, second.adjusted) == (1.0, 1.0)
    assert first.difference.value == pytest.approx(-second.difference.value)


def test_neither(tmp_path):
    near = {seed: value + 0.01 * (-1) ** seed for seed, value in PLAIN.items()}
    claims = [dict(name='H1', method='wkd', over='plain')]
    (one,) = judged(tmp_path, claims, dict(plain=PLAIN, wkd=near))
    assert one.outcome == OPEN


def test_the_correction_decides(tmp_path):
    """Alone it is supported, among twenty it is not."""
    values = dict(plain=PLAIN, wkd={1: 0.51, 2: 0.525, 3: 0.505, 4: 0.523})
    claim = dict(name='H', method='wkd', over='plain')
    (alone,) = judged(tmp_path, [claim], values)
    assert 0.001 < alone.p < 0.05
    assert alone.outcome == SUPPORTED
    many = judged(tmp_path, [claim] * 20, values)
    assert {one.outcome for one in many} == {OPEN}
    assert many[0].adjusted == pytest.approx(min(1, 20 * alone.p))


def test_lower_may_be_better_and_a_margin_makes_it_no_worse(tmp_path):
    loss = dict(key='fake/loss', higher=False)
    path = write_spec(
        tmp_path,
        seeds=SEEDS,
        metrics=[loss],
        hypotheses=[
            dict(name='lower', method='wkd', over='plain', metric='fake/loss'),
            dict(name='no worse', method='plain', over='wkd', metric='fake/loss', margin=0.2),
            dict(name='worse', method='plain', over='wkd', metric='fake/loss', margin=0.05),
        ],
    )
    study = Study(read_spec(path))
    for name, scores in dict(plain=PLAIN, wkd=BETTER).items():
        for seed, score in scores.items():
            (key,) = (one for *_, one in study.finals() if (one.method, one.seed) == (name, seed))
            metrics = {'fake/score': score, 'fake/loss': 1 - score}
            write_record(study.path(key), record(study.spec, key, score, metrics=metrics))
    lower, no_worse, worse = verdicts(study, study.results())
    assert lower.difference.value == pytest.approx(-0.10125)
    assert [one.outcome for one in (lower, no_worse, worse)] == [SUPPORTED, SUPPORTED, REFUTED]


def test_a_missing_seed_leaves_it_incomplete_and_still_counts_for_the_others(tmp_path):
    claims = [
        dict(name='H1', method='wkd', over='plain'),
        dict(name='H2', method='third', over='plain'),
    ]
    methods = {
        name: dict(config=write_fake(tmp_path, name), seeds=seeds)
        for name, seeds in dict(plain=SEEDS, wkd=SEEDS[:3], third=SEEDS).items()
    }
    values = dict(plain=PLAIN, wkd=BETTER, third={1: 0.9})
    values['wkd'] = {seed: BETTER[seed] for seed in SEEDS[:3]}
    complete, missing = judged(tmp_path, claims, values, methods=methods)
    assert (complete.planned, complete.difference.count) == (3, 3)
    assert complete.adjusted == pytest.approx(2 * complete.p)
    assert (missing.outcome, missing.planned, missing.difference.count) == (INCOMPLETE, 4, 1)
    assert math.isnan(missing.p)


def test_the_rival_is_the_best_of_the_search(tmp_path):
    methods = {
        name: dict(config=write_fake(tmp_path, name), weight='model.weight', title=name.upper())
        for name in ('a', 'b', 'c')
    }
    claims = [dict(name='H', method='c', over=['a', 'b'])]
    path = write_spec(
        tmp_path, methods=methods, search=fake_search(), hypotheses=claims, references=None
    )
    study = Study(read_spec(path))
    assert best_rival(study, ('a', 'b')) is None
    (one,) = verdicts(study, study.results())
    assert (one.rival, one.outcome) == (None, INCOMPLETE)
    while keys := [key for key in study.pending() if key.stage == SEARCH]:
        for key in keys:
            score = dict(a=1.0, b=2.0, c=3.0)[key.method] - abs(math.log(sum(key.point) / 2))
            write_record(study.path(key), record(study.spec, key, score))
    assert best_rival(study, ('a', 'b')) == 'b'
    # What the final runs say does not matter for the choice.
    write_records(path, dict(a={1: 9.0, 2: 9.0}, b={1: 1.0, 2: 1.0}, c={1: 2.0, 2: 2.5}))
    study = Study(study.spec)
    (one,) = verdicts(study, study.results())
    assert (one.rival, one.difference.value) == ('B', 1.25)
    assert best_rival(study, ('a',)) == 'a'


def test_the_runs_may_be_those_of_another_study(tmp_path):
    other = write_spec(tmp_path, 'other', seeds=SEEDS)
    write_records(other, dict(plain=PLAIN, wkd=BETTER))
    claims = [dict(name='H', method='wkd', over='plain', study='other.py')]
    (one,) = judged(tmp_path, claims, {})
    assert one.outcome == SUPPORTED
    assert one.difference.value == pytest.approx(0.10125)


def test_without_hypotheses_nothing_is_tested(tmp_path):
    assert judged(tmp_path, [], dict(plain=PLAIN)) == []
