"""Pure parts of the comparison: statistics, spec, plan, tables."""

import csv
import io
import math
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from wkd_det.experiments.comparison import is_made
from wkd_det.experiments.figures import band, forest_plot, learning_curves
from wkd_det.experiments.plan import best_factor, final_runs, search_runs, weights_of
from wkd_det.experiments.report import (
    csv_text,
    markdown_search,
    markdown_table,
    mean_of,
    paired_difference,
    summarise,
)
from wkd_det.experiments.spec import read_spec

ROOT = Path(__file__).resolve().parents[2]
STUDENT = 'configs/mini/faster-rcnn_student.py'
WKD_L = 'configs/mini/wkd-l.py'
WEIGHT = 'model.distill.loss_wkd_l.loss.loss_weight'


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def write(folder, **changes):
    content = dict(
        metric='coco/bbox_mAP',
        seeds=[1, 2],
        length=40,
        references=['plain'],
        methods=dict(
            plain=dict(config=STUDENT),
            wkd=dict(config=WKD_L, title='WKD-L', weight=WEIGHT),
        ),
        work_dir=str(folder / 'work'),
    )
    content.update(changes)
    path = folder / 'spec.py'
    path.write_text(
        '\n'.join(f'{key} = {value!r}' for key, value in content.items() if value is not None)
    )
    return path


def result(value, *, seconds=0.5, memory=100.0, curve=None, losses=None):
    return dict(
        metrics={'coco/bbox_mAP_50': 2 * value, 'coco/bbox_mAP': value},
        curve=curve or {'40': value},
        losses=losses or {'20': 2.0, '40': 1.0},
        seconds_per_step=seconds,
        peak_memory=memory,
        memory_of='process',
        starts=1,
        fingerprint='abc',
    )


# Statistics


def test_mean_and_standard_error():
    mean = mean_of([1.0, 2.0, 3.0, 6.0])
    assert mean.value == 3.0
    assert mean.error == pytest.approx(math.sqrt(14 / 3) / 2)
    assert mean.count == 4
    assert math.isnan(mean_of([1.0]).error)
    with pytest.raises(ValueError, match='values must not be empty'):
        mean_of([])


def test_paired_difference_removes_what_seeds_share():
    reference = {1: 0.1, 2: 0.5, 3: 0.9}
    difference = paired_difference(
        {seed: value + 0.01 for seed, value in reference.items()}, reference
    )
    assert difference.value == pytest.approx(0.01)
    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)
    assert (difference.count, difference.ahead) == (3, 3)


def test_interval_is_that_of_all_resamples():
    """Four seeds have 4^4 resamples; SciPy's random ones come close to all of them."""
    gaps = [0.0, 0.1, 0.3, 0.8]
    means = sorted(np.mean(choice) for choice in product(gaps, repeat=4))
    expected = np.percentile(means, [2.5, 97.5])
    difference = paired_difference(dict(enumerate(gaps)), dict.fromkeys(range(4), 0.0))
    assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=0.03)
    again = paired_difference(dict(enumerate(gaps)), dict.fromkeys(range(4), 0.0))
    assert again == difference
    assert difference.ahead == 3  # a tie is not ahead


def test_interval_of_five_seeds_covers_what_the_document_says():
    """83 % of normal differences, in 2000 draws; 600 draws have a standard error of 1.5 %."""
    random = np.random.default_rng(0)
    zero = dict.fromkeys(range(5), 0.0)
    covered = 0
    for _ in range(600):
        difference = paired_difference(dict(enumerate(random.normal(size=5))), zero)
        covered += difference.low <= 0 <= difference.high
    assert covered / 600 == pytest.approx(0.83, abs=0.045)


def test_only_seeds_that_both_have_are_compared():
    difference = paired_difference({1: 1.0, 2: 5.0}, {2: 4.0, 3: 0.0})
    assert (difference.value, difference.count) == (1.0, 1)
    assert math.isnan(difference.low)
    assert paired_difference({1: 1.0}, {2: 1.0}) is None


# Spec


def test_spec_is_read(tmp_path):
    spec = read_spec(write(tmp_path, search=dict(seeds=[9], factors=[0.5, 1], length=10)))
    assert spec.seeds == (1, 2)
    assert spec.search.seeds == (9,)
    assert spec.method('wkd').weights == (WEIGHT,)
    assert spec.method('wkd').factors == (0.5, 1.0)
    assert spec.method('plain').factors == ()
    assert spec.title == 'spec'
    assert spec.work_dir == tmp_path / 'work'


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(sedes=[1]), KeyError, r"unknown keys \['sedes'\]"),
        (dict(metric=None), KeyError, 'lacks metric'),
        (dict(seeds=[]), ValueError, 'seeds must be a list of whole numbers'),
        (dict(seeds=[1, 1]), ValueError, 'seeds must be different numbers'),
        (dict(length=0), ValueError, 'length must be a whole number of at least 1, got 0'),
        (dict(references=['kd']), ValueError, r"references must be among .*got 'kd'"),
        (dict(methods={}), ValueError, 'methods must not be empty'),
        (dict(methods=dict(a=dict(title='x'))), TypeError, 'methods.a must be a dict with c'),
        (dict(methods=dict(a=dict(config='no'))), FileNotFoundError, 'methods.a.config not found'),
        (dict(search=dict(seeds=[2], factors=[1])), ValueError, r'must not be among .*got \[2\]'),
        (dict(search=dict(seeds=[9], factors=[0])), ValueError, 'list of positive numbers'),
        (dict(search=dict(seeds=[9])), KeyError, 'search lacks factors'),
        (dict(prepare=[dict(name='x')]), ValueError, 'either command or config'),
        (dict(prepare=[dict(name='x', command='ls')]), TypeError, 'command must be a list'),
        (dict(prepare=[dict(name='x', config=STUDENT)]), KeyError, 'lacks work_dir'),
        (dict(prepare=[dict(name='x', command=[], needs=['a'])]), ValueError, 'makes is missing'),
    ],
)  # fmt: skip
def test_wrong_specs(tmp_path, changes, error, message):
    if changes.get('methods'):
        changes = dict(changes, references=None)
    with pytest.raises(error, match=message):
        read_spec(write(tmp_path, **changes))


def test_every_method_gets_the_same_budget(tmp_path):
    methods = dict(
        plain=dict(config=STUDENT), wkd=dict(config=WKD_L, weight=WEIGHT, factors=[1, 2, 3])
    )
    path = write(tmp_path, methods=methods, search=dict(seeds=[9], factors=[1, 2]))
    with pytest.raises(ValueError, match=r'as many values as search.factors \(2\).*got 3'):
        read_spec(path)


def test_what_a_command_makes_is_made_again_when_it_is_outdated(tmp_path):
    made, needed = tmp_path / 'made', tmp_path / 'needed'
    entry = dict(name='x', command=['python'], makes=str(made), needs=[str(needed)])
    (entry,) = read_spec(write(tmp_path, prepare=[entry])).prepare
    assert not is_made(entry)
    needed.touch()
    made.touch()
    os.utime(needed, (1, 1))
    assert is_made(entry)
    os.utime(made, (0, 0))
    assert not is_made(entry)


# Plan


def test_plan_goes_seed_by_seed_and_sets_seed_length_and_weight(tmp_path):
    spec = read_spec(write(tmp_path, search=dict(seeds=[9], factors=[0.5, 2], length=10)))
    final = final_runs(spec, dict(wkd=0.5), threads=None)
    assert [(method.name, seed) for method, seed, _ in final] == [
        ('plain', 1), ('wkd', 1), ('plain', 2), ('wkd', 2),
    ]  # fmt: skip
    config = final[3][2].config
    assert config.randomness.seed == 2
    assert config.train_cfg.max_iters == config.train_cfg.val_interval == 40
    assert config.param_scheduler[-1].end == 40
    assert config.param_scheduler[0].end != 40  # the warm-up stays
    assert config.model.distill.loss_wkd_l.loss.loss_weight == 0.5
    assert len({run.folder for *_, run in final}) == 4
    searched = search_runs(spec, threads=None)
    assert [(method.name, factor, seed) for method, factor, seed, _ in searched] == [
        ('wkd', 0.5, 9), ('wkd', 2.0, 9),
    ]  # fmt: skip
    assert searched[1][-1].config.model.distill.loss_wkd_l.loss.loss_weight == 2.0
    assert searched[1][-1].length == 10


def test_overrides_reach_the_runs(tmp_path):
    cost = 'model.distill.loss_wkd_l.loss.cost'
    methods = dict(
        plain=dict(config=STUDENT),
        wkd=dict(
            config=WKD_L, overrides={cost: dict(_delete_=True, type='FileCost', path='cost.pth')}
        ),
    )
    spec = read_spec(write(tmp_path, methods=methods, overrides={'train_dataloader.batch_size': 2}))
    plain, wkd = (run.config for _, _, run in final_runs(spec, {}, threads=None)[:2])
    assert plain.train_dataloader.batch_size == wkd.train_dataloader.batch_size == 2
    assert wkd.model.distill.loss_wkd_l.loss.cost == dict(type='FileCost', path='cost.pth')


def test_a_weight_that_is_not_in_the_config(tmp_path):
    methods = dict(plain=dict(config=STUDENT, weight='model.nothing'))
    spec = read_spec(write(tmp_path, methods=methods))
    with pytest.raises(ValueError, match='must name a number in the config, got None at model.no'):
        weights_of(spec, spec.methods[0], 1.0)


@pytest.mark.parametrize(
    ('scores', 'factor'),
    [
        ({0.5: [0.1, 0.2], 1.0: [0.3, 0.1], 2.0: [0.1, 0.1]}, 1.0),
        ({0.5: [0.1], 1.0: [0.1], 2.0: [0.1]}, 1.0),  # nothing says to leave the default
        ({0.5: [0.1], 2.0: [0.1]}, 0.5),
        ({1.0: [0.1, math.nan], 4.0: [0.05, 0.05]}, 4.0),  # one run has failed
    ],
)
def test_best_factor(scores, factor):
    assert best_factor(scores) == factor


def test_no_factor_works():
    with pytest.raises(ValueError, match='have all failed'):
        best_factor({1.0: [math.nan]})


# Report


@pytest.fixture
def results():
    return dict(
        plain={1: result(0.2, memory=100.0), 2: result(0.4, memory=104.0)},
        wkd={1: result(0.3, seconds=0.75, memory=150.0), 2: result(0.5, memory=170.0)},
    )


def test_table(tmp_path, results):
    spec = read_spec(write(tmp_path))
    rows = summarise(spec, results)
    assert markdown_table(spec, rows).splitlines() == [
        '| method | seeds | coco/bbox_mAP | minus plain [95 %] | s / step | extra memory (MiB) |',
        '|---|---|---|---|---|---|',
        '| plain | 2 | 0.3000 ± 0.1000 |  | 0.500 | +0 |',
        '| WKD-L | 2 | 0.4000 ± 0.1000 | +0.1000 [+0.1000, +0.1000], 2/2 ahead | 0.625 | +58 |',
    ]


def test_table_of_what_there_is(tmp_path):
    spec = read_spec(write(tmp_path))
    rows = summarise(spec, dict(wkd={2: result(0.3, memory=None)}))
    assert markdown_table(spec, rows).splitlines()[2:] == ['| WKD-L | 1 | 0.3000 |  | 0.500 |  |']


def test_csv(tmp_path, results):
    spec = read_spec(write(tmp_path))
    rows = list(
        csv.DictReader(io.StringIO(csv_text(spec, [('final', 'wkd', 0.5, 2, results['wkd'][2])])))
    )
    assert list(rows[0])[:6] == [
        'stage', 'method', 'factor', 'seed', 'coco/bbox_mAP', 'coco/bbox_mAP_50',
    ]  # fmt: skip
    assert rows[0]['factor'] == '0.5'
    assert float(rows[0]['coco/bbox_mAP']) == 0.5
    assert rows[0]['fingerprint'] == 'abc'


def test_search_is_in_the_record(tmp_path):
    spec = read_spec(write(tmp_path, search=dict(seeds=[9], factors=[0.5, 1])))
    scores = dict(wkd={0.5: [0.25], 1.0: [math.nan]})
    assert markdown_search(spec, scores).splitlines()[2:] == [
        '| plain | nothing to tune | |',
        f'| WKD-L | `{WEIGHT}` 1 | **0.5: 0.2500**, 1: failed |',
    ]


def test_curves_of_runs_shorter_than_a_log_interval(tmp_path):
    spec = read_spec(write(tmp_path))
    short = dict(result(0.0), losses={})
    learning_curves(spec, {'plain': {1: short}}, tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_band():
    steps, mean, error = band([{'10': 1.0, '20': 2.0}, {'20': 4.0, '30': 9.0}])
    assert steps.tolist() == [20]
    assert mean.tolist() == [3.0]
    assert error.tolist() == [1.0]
    assert band([{'10': 1.0}])[2].tolist() == [0.0]


@pytest.mark.parametrize('curve', [None, {'20': 0.1, '40': 0.2}])
def test_plots_are_written(tmp_path, results, curve):
    spec = read_spec(write(tmp_path))
    results['wkd'][3] = result(0.2, curve=curve)
    if curve:
        for runs in results.values():
            for value in runs.values():
                value['curve'] = curve
    learning_curves(spec, results, tmp_path / 'curves.png')
    forest_plot(spec, summarise(spec, results), tmp_path / 'forest.png')
    for name in ('curves.png', 'forest.png'):
        assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')


# The studies of this project


@pytest.mark.parametrize('path', sorted((ROOT / 'studies').glob('*.py')), ids=lambda p: p.stem)
def test_study_can_be_planned(path):
    spec = read_spec(path)
    runs = [*search_runs(spec, threads=None), *final_runs(spec, {}, threads=None)]
    assert len({run.folder for *_, run in runs}) == len(runs)
    assert f'{path.name}' in (ROOT / 'studies/README.md').read_text()
    if spec.search is not None:
        assert {len(method.factors) for method in spec.methods if method.weights} == {3}
    for entry in spec.prepare:
        for word in entry.command:
            assert not word.endswith('.py') or Path(word).is_file()
