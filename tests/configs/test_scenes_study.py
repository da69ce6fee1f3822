"""Studies on photo scenes: each arm builds, at the places that its title names, and is searched."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from wkd_det.detection.geometry import num_classes
from wkd_det.distillation import TeacherSource
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import Study

ROOT = Path(__file__).parents[2]
SPEC, MORE, ROIS, PAIRS, SHORT, LONG = (
    Config.fromfile(ROOT / f'studies/{name}.py')
    for name in (
        'scenes',
        'scenes_more',
        'scenes_rois',
        'scenes_pairs',
        'scenes_x1',
        'scenes_x4',
    )
)
METHODS = {**SPEC.methods, **MORE.methods, **ROIS.methods, **PAIRS.methods}
DISTILLED = [name for name in METHODS if not name.startswith('plain')]
MAPS = dict(kernel_size=3, type='ConvConnector')
pytestmark = pytest.mark.usefixtures('from_the_root')


def config_of(method: str) -> Config:
    """The config of an arm as it is trained."""
    section = copy.deepcopy(METHODS[method])
    config = Config.fromfile(ROOT / section.config)
    config.merge_from_dict(section.overrides.to_dict())
    return config


@pytest.fixture(scope='module')
def teacher() -> torch.nn.Module:
    with torch.device('meta'):
        return MODELS.build(TeacherSource('wkd_det::scenes/faster-rcnn_teacher.py').model_config())


@pytest.mark.parametrize('method', DISTILLED)
def test_an_arm_builds_and_its_taps_fit(method, teacher):
    config = config_of(method)
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(config.model))
        assert num_classes(model) == 10
        for term in model.distiller.terms.values():
            term.tap.attach(model, teacher, term.connectors)


@pytest.mark.parametrize('method', METHODS)
def test_the_search_scales_numbers_of_the_config(method):
    section = METHODS[method]
    weights = section.weight if isinstance(section.weight, list) else [section.weight]
    flat = config_of(method).to_dict()
    for key in [*weights, 'optim_wrapper.optimizer.lr']:
        value = flat
        for part in key.split('.'):
            value = value[part]
        assert type(value) is float, key
        assert value > 0, key
    if method in DISTILLED:  # no term is left at a weight of its own
        terms = config_of(method).model.distill
        assert sorted(weights) == sorted(f'model.distill.{term}.loss.loss_weight' for term in terms)


def test_feature_methods_have_the_places_of_wkd():
    for method, term in (('fitnet', 'fitnet'), ('pkd', 'pkd'), ('nst', 'nst'), ('ickd', 'ickd')):
        found = config_of(method).model.distill[f'loss_{term}']
        assert (found.tap, found.levels) == ('neck', [0])
        assert found.connector.to_dict() == dict(MAPS, norm_cfg=dict(type='BN'))
    own = config_of('wkd_f_fpn').model.distill.loss_wkd_f_fpn
    assert (own.tap, own.levels, own.connector.to_dict()) == ('neck', [0], MAPS)
    own = config_of('wkd_f').model.distill.loss_wkd_f.to_dict()
    for method in ('fitnet', 'pkd'):
        found = config_of(f'{method}_rois').model.distill[f'loss_{method}'].to_dict()
        assert {**found, 'loss': None} == {**own, 'loss': None}


@pytest.mark.parametrize(
    ('method', 'singles'),
    [
        ('kd_fitnet', dict(loss_kd=('kd', 'loss_kd'), loss_fitnet=('fitnet', 'loss_fitnet'))),
        (
            'wkd_lf_fpn',
            dict(loss_wkd_l=('wkd_l', 'loss_wkd_l'), loss_wkd_f=('wkd_f_fpn', 'loss_wkd_f_fpn')),
        ),
    ],
)
def test_a_combination_begins_with_what_each_term_was_given_alone(method, singles):
    study = Study(read_spec(ROOT / 'studies/scenes.py'))
    terms = config_of(method).model.distill.to_dict()
    assert list(terms) == list(singles)
    for term, (single, section) in singles.items():
        expected = config_of(single).model.distill[section].to_dict()
        weight, _ = study.choice(study.spec.method(single)).chosen
        expected['loss']['loss_weight'] = pytest.approx(weight * expected['loss']['loss_weight'])
        assert terms[term] == expected


def test_the_constant_cost_is_all_that_differs():
    rows, constant = (config_of(name).model for name in ('wkd_l', 'wkd_l_constant'))
    assert constant.distill.loss_wkd_l.loss.pop('cost') == dict(type='ConstantCost')
    assert rows.distill.loss_wkd_l.loss.pop('cost').type == 'ClassifierCost'
    assert constant == rows
    assert METHODS['wkd_l_constant'].like == 'wkd_l'


def test_the_search_sees_other_scenes_than_the_table():
    final = config_of('plain')
    searched = config_of('plain')
    searched.merge_from_dict(SPEC.search.overrides.to_dict())
    assert final.val_dataloader.dataset.ann_file == 'annotations/groups_val.json'
    assert searched.val_dataloader.dataset.ann_file == 'annotations/groups_search.json'
    assert searched.val_dataloader.dataset.data_prefix == dict(img='search/')
    for config in (final, searched):
        name = config.val_dataloader.dataset.ann_file
        assert config.val_evaluator.ann_file == f'data/photo_scenes/{name}'
    assert not set(SPEC.search.seeds) & set(SPEC.seeds)


def test_everybody_starts_from_the_kept_files():
    kept = {entry.name: entry.keep for entry in SPEC.prepare if 'keep' in entry}
    prepared = {entry.name: entry for entry in SPEC.prepare}
    key = 'model.backbone.init_cfg.checkpoint'
    assert prepared['teacher'].overrides == {key: kept['teacher_backbone']}
    for spec in (SPEC, MORE, ROIS, PAIRS, SHORT, LONG):
        assert spec.prepare == SPEC.prepare
        for method, section in spec.methods.items():
            assert section.overrides[key] == kept['student_backbone']
            if not method.startswith('plain'):
                assert section.overrides['model.teacher.checkpoint'] == kept['teacher']


@pytest.mark.parametrize('other', [MORE, ROIS, PAIRS], ids=['more', 'rois', 'pairs'])
def test_specs_share_records_of_the_same_runs(other):
    assert other.records == 'studies/results/scenes'
    shared = set(SPEC.methods) & set(other.methods)
    assert shared == {'plain', 'kd', *(['wkd_l'] if other is MORE else [])}
    assert (other.length, other.search) == (SPEC.length, SPEC.search)
    for method in shared:
        assert other.methods[method] == SPEC.methods[method]


def test_every_arm_is_in_one_study():
    arms = Config.fromfile(ROOT / 'studies/_base_/scenes.py').arms
    assert {*arms, 'plain_equal'} == set(METHODS)


def test_lengths_double():
    assert [SHORT.length, SPEC.length, LONG.length] == [1200, 2400, 4800]
    for spec in (SHORT, LONG):
        assert spec.search == dict(of='scenes.py')
        for method, section in spec.methods.items():
            assert {**section, 'length': 0} == {**SPEC.methods[method], 'length': 0}
        ratio = spec.methods.plain_equal.length / spec.length
        assert ratio == SPEC.methods.plain_equal.length / SPEC.length
