"""Plans: the training behind a run, with seed, length, overrides and factors."""

import re
from pathlib import Path

import pytest

from commands import ROOT
from specs import (
    STUDENT,
    TOOLS,
    WEIGHT,
    WKD_L,
    fake_search,
    write_fake,
    write_spec,
)
from wkd_det.experiments.plan import Plan, scaled
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import CHECK, FINAL, SEARCH, Key, Study

LR = 'optim_wrapper.optimizer.lr'


def planned(path, key):
    return Plan(read_spec(path), tools=TOOLS).run(key)


def test_a_run_of_a_shipped_config(tmp_path):
    cost = 'model.distill.loss_wkd_l.loss.cost'
    methods = dict(
        plain=dict(config=STUDENT, weight='model.roi_head.bbox_head.loss_cls.loss_weight'),
        wkd=dict(
            config=WKD_L,
            title='WKD-L',
            overrides={cost: dict(_delete_=True, type='FileCost', path='cost.pth')},
            weight=WEIGHT,
        ),
    )
    path = write_spec(
        tmp_path,
        methods=methods,
        search=fake_search(length=10),
        length=40,
        overrides={'train_dataloader.batch_size': 2},
        metric='coco/bbox_mAP',
        commit='abc',
    )
    run = planned(path, Key(FINAL, 'wkd', (0.5, 2.0), 7))
    config = run.config
    assert run.title == 'WKD-L, seed 7'
    assert config.randomness.seed == 7
    assert config.train_cfg.max_iters == config.train_cfg.val_interval == run.length == 40
    assert config.param_scheduler[-1].end == 40
    assert config.param_scheduler[0].end != 40  # the warm-up stays
    assert config.train_dataloader.batch_size == 2
    assert config.model.distill.loss_wkd_l.loss.cost == dict(type='FileCost', path='cost.pth')
    before = planned(path, Key(FINAL, 'wkd', (1.0, 1.0), 7)).config
    weights = [one.model.distill.loss_wkd_l.loss.loss_weight for one in (before, config)]
    rates = [one.optim_wrapper.optimizer.lr for one in (before, config)]
    assert weights[1] == weights[0] / 2
    assert rates[1] == rates[0] * 2
    assert run.about['values'] == {WEIGHT: weights[1], LR: rates[1]}
    assert run.about['scaled'][0] == dict(keys=[WEIGHT], factor=0.5)
    assert (run.commits, run.may_fail, run.keep_checkpoints) == (('abc',), False, False)
    assert run.record_file == tmp_path / 'results/spec/final/wkd/seed_7.json'
    assert run.folder == tmp_path / 'work/spec/final/wkd/seed_7'
    searched = planned(path, Key(SEARCH, 'plain', (1.0, 1.0), 9))
    assert searched.title == 'plain x 1 x 1, search seed 9'
    assert searched.length == 10
    assert searched.may_fail


def test_lengths_and_overrides_of_each_stage(tmp_path):
    config = write_fake(tmp_path)
    methods = dict(
        a=dict(config=config, weight='model.weight', overrides={'model.best': 3}),
        b=dict(config=config, weight='model.weight', like='a', length=9),
    )
    search = fake_search(length=2, check=dict(length=5), overrides={'model.best': 4})
    path = write_spec(
        tmp_path, methods=methods, search=search, references=None, length=6,
        overrides={'model.best': 2, 'model.quality': 2},
    )  # fmt: skip
    keys = [Key(stage, 'a', (1.0, 1.0), 5) for stage in (SEARCH, CHECK, FINAL)]
    keys.append(Key(FINAL, 'b', (1.0, 1.0), 5))
    runs = [planned(path, key) for key in keys]
    assert [run.length for run in runs] == [2, 5, 6, 9]
    assert [run.config.model.best for run in runs] == [4, 4, 3, 2]
    assert {run.config.model.quality for run in runs} == {2}
    assert len({run.record_file for run in runs}) == 4
    assert len({run.folder for run in runs}) == 4


def test_keys_are_scaled_together_and_twice_if_two_stages_have_them(tmp_path):
    stages = [dict(keys='weight', factors=[1, 2]), dict(keys=['model.best'], factors=[1, 2])]
    config = write_fake(tmp_path, best=3.0, weight=5)
    methods = dict(a=dict(config=config, weight=['model.weight', 'model.best']))
    spec = read_spec(
        write_spec(
            tmp_path, methods=methods, references=None, search=dict(seeds=[9], stages=stages)
        )
    )
    run = Plan(spec, tools=TOOLS).run(Key(SEARCH, 'a', (2.0, 10.0), 9))
    assert scaled(run.config, spec.methods[0], (1.0, 1.0)) == dict(
        [('model.weight', 10.0), ('model.best', 60.0)]
    )


def test_what_is_no_number_cannot_be_scaled(tmp_path):
    methods = dict(plain=dict(config=write_fake(tmp_path), weight='model.nothing'))
    path = write_spec(tmp_path, methods=methods, search=fake_search())
    message = 'methods.plain: the search scales numbers in the config, got None at model.nothing'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        Plan(read_spec(path), tools=TOOLS).check()


def test_a_preparation_leaves_its_record_where_others_look_for_it(tmp_path):
    config = write_fake(tmp_path, 'teacher')
    entries = [
        dict(name='shared', config=config, work_dir=str(tmp_path / 'shared')),
        dict(
            name='teacher',
            config=config,
            work_dir=str(tmp_path / 'teacher'),
            keep=str(tmp_path / 'teacher.pth'),
            overrides={'model.quality': 2},
        ),
    ]
    spec = read_spec(write_spec(tmp_path, prepare=entries, commit='abc'))
    shared, kept = (Plan(spec, tools=TOOLS).preparation(entry) for entry in spec.prepare)
    assert shared.record_file == tmp_path / 'shared/harness/record.json'
    assert shared.commits == ()  # other studies use it as well
    assert kept.record_file == tmp_path / 'results/spec/prepare/teacher.json'
    assert (kept.commits, kept.config.model.quality) == (('abc',), 2)
    assert kept.about['stage'] == 'prepare'
    assert (kept.metric, kept.curves) == (None, ('fake/score',))  # or a backbone could be none


# The studies of this project


@pytest.mark.parametrize('path', sorted((ROOT / 'studies').glob('*.py')), ids=lambda p: p.stem)
def test_study_can_be_planned(path):
    spec = read_spec(path)
    plan = Plan(spec, tools=TOOLS)
    plan.check()
    study = Study(spec)
    points = {method.name: (1.0,) * len(method.stages) for method in spec.methods}
    keys = [
        Key(FINAL, method.name, points[method.name], seed) for method, seed, _ in study.finals()
    ]
    keys += [key for key in study.pending() if key.stage != FINAL]
    runs = [plan.run(key) for key in keys]
    assert len({run.folder for run in runs}) == len(runs)
    assert f'{path.name}' in (ROOT / 'studies/README.md').read_text()
    for entry in spec.prepare:
        for word in entry.command:
            assert not word.endswith('.py') or Path(word).is_file()
