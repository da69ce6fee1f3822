"""Plans: runs of a spec with seed, length, overrides and weight; the choice of a factor."""

import math
from pathlib import Path

import pytest

from commands import ROOT
from specs import STUDENT, TOOLS, WKD_L, write_spec
from wkd_det.experiments.plan import best_factor, final_runs, scaled_weights, search_runs
from wkd_det.experiments.spec import read_spec


def test_plan_goes_seed_by_seed_and_sets_seed_length_and_weight(tmp_path):
    spec = read_spec(write_spec(tmp_path, search=dict(seeds=[9], factors=[0.5, 2], length=10)))
    final = final_runs(spec, dict(wkd=0.5), tools=TOOLS)
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
    searched = search_runs(spec, tools=TOOLS)
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
    spec = read_spec(
        write_spec(tmp_path, methods=methods, overrides={'train_dataloader.batch_size': 2})
    )
    plain, wkd = (run.config for _, _, run in final_runs(spec, {}, tools=TOOLS)[:2])
    assert plain.train_dataloader.batch_size == wkd.train_dataloader.batch_size == 2
    assert wkd.model.distill.loss_wkd_l.loss.cost == dict(type='FileCost', path='cost.pth')


def test_a_weight_that_is_not_in_the_config(tmp_path):
    methods = dict(plain=dict(config=STUDENT, weight='model.nothing'))
    spec = read_spec(write_spec(tmp_path, methods=methods))
    with pytest.raises(ValueError, match='must name a number in the config, got None at model.no'):
        scaled_weights(spec, spec.methods[0], 1.0)


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


# The studies of this project


@pytest.mark.parametrize('path', sorted((ROOT / 'studies').glob('*.py')), ids=lambda p: p.stem)
def test_study_can_be_planned(path):
    spec = read_spec(path)
    runs = [*search_runs(spec, tools=TOOLS), *final_runs(spec, {}, tools=TOOLS)]
    assert len({run.folder for *_, run in runs}) == len(runs)
    assert f'{path.name}' in (ROOT / 'studies/README.md').read_text()
    if spec.search is not None:
        assert {len(method.factors) for method in spec.methods if method.weights} == {3}
    for entry in spec.prepare:
        for word in entry.command:
            assert not word.endswith('.py') or Path(word).is_file()
