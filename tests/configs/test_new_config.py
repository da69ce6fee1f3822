"""tools/new_config.py: what it writes, what it refuses, and what it answers to old names."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

import new_config
from config_catalogue.catalogue import Catalogue
from config_catalogue.headers import ConfigError, Header
from config_catalogue.renamed import instead_of
from config_catalogue.tables import END, START, configs_table, renew_tables, with_table

ROOT = Path(__file__).parents[2]
CATALOGUE = Catalogue()
KD = ('--method', 'kd', '--pair', 'r50-to-mobilenetv2', '--schedule', '1x')


def run(*arguments, folder=ROOT):
    """Run the tool as a user does; what it prints."""
    command = [sys.executable, ROOT / 'tools/new_config.py', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_config_resolves_wherever_it_is_put(tmp_path):
    path = tmp_path / 'my' / 'own' / 'kd.py'
    assert run(*KD, '--out', path, folder=tmp_path) == f'wrote {path}\n'
    config = Config.fromfile(path)
    assert list(config.model.distill) == ['loss_kd']
    assert config.model.teacher.config.endswith('faster-rcnn_r50_fpn_ms-3x_coco.py')
    header = Header.of(path)
    assert header.title == ('KD, Faster R-CNN R-50 to MobileNetV2 with FPN, COCO, 1x (12 epochs)')
    assert header.fields['Command'] == f'bash tools/dist_train.sh {path} 8'
    assert header.fields['Expected'] == 'not yet run'


def test_a_folder_and_a_link_to_one(tmp_path):
    (tmp_path / 'deep' / 'er').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'deep' / 'er')
    method, pair = CATALOGUE.find('kd', 'mini', None)
    path = CATALOGUE.write(method, pair, tmp_path / 'link')
    assert path == tmp_path / 'link/kd.py'
    assert list(Config.fromfile(path).model.distill) == ['loss_kd']


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (
            ('--method', 'kdd', '--pair', 'mini'),
            "--method must name a method, got 'kdd'; near matches are kd, rkd, pkd, nkd, dkd",
        ),
        (
            ('--method', 'kd', '--pair', 'r50-to-mobilenet', '--schedule', '1x'),
            "--pair must name a pair, got 'r50-to-mobilenet'; near matches are r50-to-mobilenetv2",
        ),
        (
            (*KD[:4], '--schedule', '2x'),
            '--schedule must be one of faster-rcnn_r50-to-mobilenetv2, got',
        ),
        (KD[:4], '--schedule is needed: faster-rcnn_r50-to-mobilenetv2 has 180k and 1x'),
        (
            ('--method', 'kd', '--pair', 'r101-to-r50', '--schedule', '1x'),
            '--pair r101-to-r50 may be any of atss_r101-to-r50, cascade-rcnn_r101-to-r50',
        ),
        (
            ('--method', 'kd', '--pair', 'gfl_r101-to-r50'),
            '--method kd is not for a gfl pair: gfl_r101-to-r50 takes crosskd, fgfi,',
        ),
        (('--method', 'kd', '--pair', 'mini'), 'mini/kd.py is there already: --force overwrites'),
        (
            (*KD, '--out', 'kd.txt'),
            '--out must end in .py or be a folder that is there, got kd.txt',
        ),
        (('--method', 'kd'), '--pair must be given; --list shows what there is'),
        (('--methods', 'kd'), '--method'),
    ],
)
def test_mistakes_are_said_in_one_sentence(arguments, sentence, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', ['new_config.py', *arguments])
    with pytest.raises(SystemExit) as end:
        new_config.main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert said.count('\n') == 1
    assert sentence in said


def test_a_file_that_is_there_is_overwritten_by_force_alone(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('mine\n')
    method, pair = CATALOGUE.find('kd', 'mini', '500i')
    with pytest.raises(ConfigError, match='is there already: --force overwrites it'):
        CATALOGUE.write(method, pair, path)
    assert path.read_text() == 'mine\n'
    CATALOGUE.write(method, pair, path, force=True)
    assert Header.of(path).fields['Method'].startswith('KD: ')


def test_the_list_names_every_method_and_pair():
    listed = run('--list')
    for method in CATALOGUE.methods:
        assert f'\n  {method.name} ' in listed
    for pair in CATALOGUE.pairs:
        assert re.search(rf'^  {re.escape(pair.name)} .*\b{pair.schedule}\b', listed, re.MULTILINE)


# A pair of one's own

PAIR = """# Faster R-CNN R-101 to R-34 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  Faster R-CNN R-101 FPN
# Student:  R-34
# Kind:     two-stage
# Needs:    COCO 2017 in data/coco
# Command:  bash tools/dist_train.sh configs/detection/METHOD_faster-rcnn_r101-to-r34_1x.py 8
_base_ = [
    '../../detection/baseline/faster-rcnn_r18_fpn_1x_coco.py',
    '../teachers/faster-rcnn_r101.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    backbone=dict(depth=34, init_cfg=dict(checkpoint='torchvision://resnet34')),
)
"""
SETTINGS = """
settings = {'wkd-l': dict(loss_wkd_l=dict(loss=dict(sharpness=3.0)))}
"""


@pytest.mark.parametrize('settings', ['', SETTINGS], ids=['as published', 'with settings'])
def test_a_new_pair_is_one_file(settings, tmp_path, from_the_root):
    """It takes all methods, and is at home in the list and in the table."""
    configs = tmp_path / 'configs'
    shutil.copytree(ROOT / 'configs', configs, ignore=shutil.ignore_patterns('__pycache__'))
    path = configs / '_base_/pairs/faster-rcnn_r101-to-r34_1x.py'
    path.write_text(PAIR + settings)
    catalogue = Catalogue(configs)
    _, pair = catalogue.find('kd', 'r101-to-r34', None)
    methods = catalogue.methods_for(pair)
    assert {method.name for method in methods} == {
        method.name for method in CATALOGUE.methods if 'two-stage' in method.kinds
    }
    _, other = CATALOGUE.find('kd', 'faster-rcnn_r101-to-r18', '1x')
    for method in methods:
        config = Config.fromfile(catalogue.write(method, pair, None))
        assert config.model.backbone.depth == 34
        known = Config.fromfile(CATALOGUE.write(method, other, tmp_path / f'{method.name}.py'))
        assert 'settings' not in config
        if settings and method.name == 'wkd-l':
            assert config.model.distill.loss_wkd_l.loss.pop('sharpness') == 3.0
            assert known.model.distill.loss_wkd_l.loss.pop('sharpness') == 2.0
        assert config.model.distill == known.model.distill
        assert config.get('custom_hooks') == known.get('custom_hooks')
    assert 'faster-rcnn_r101-to-r34' in catalogue.listing()
    assert renew_tables(catalogue) == [configs / 'detection/README.md']
    assert renew_tables(catalogue) == []
    table = configs_table(catalogue, 'detection')
    assert table.count('| faster-rcnn_r101-to-r34 | 1x |') == len(methods)


@pytest.mark.parametrize(
    ('name', 'text', 'sentence'),
    [
        (
            'pairs/mine_1x.py',
            PAIR.replace('# Kind:     two-stage\n', ''),
            r'mine_1x\.py lacks Kind in its header',
        ),
        ('pairs/mine_1x.py', PAIR.replace('METHOD', 'kd'), r'mine_1x\.py must have configs/'),
        ('distill/mine.py', '# Method:   mine: my own\n', r'mine\.py lacks For in its header'),
    ],
)
def test_a_header_that_lacks_something_is_named(name, text, sentence, tmp_path):
    shutil.copytree(ROOT / 'configs/_base_', tmp_path / 'configs/_base_')
    (tmp_path / 'configs/_base_' / name).write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        Catalogue(tmp_path / 'configs')


def test_a_readme_without_a_place_for_its_table():
    with pytest.raises(ConfigError, match='a README must hold the lines'):
        with_table(f'text\n{START}\n', 'table')
    assert with_table(f'a\n{START}\nold\n{END}\nb\n', 'new') == f'a\n{START}\n\nnew\n\n{END}\nb\n'


# Names of version 0.1

RIVALS = ['kd', 'dkd', 'fitnet', 'nst', 'ickd', 'pkd', 'reviewkd', 'fgfi', 'icd', 'fcfd']
COMBINED = ['wkd-lf-box', 'dkd-reviewkd', 'reviewkd-wkd', 'fcfd-wkd']
WKD = ['wkd-l', 'wkd-f', 'wkd-f-fpn', 'wkd-lf']
KINDS = [
    'wkd-lf_mask-rcnn_r101-to-mask-rcnn_r50_fpn',
    'wkd-lf_cascade-rcnn_r101-to-cascade-rcnn_r50_fpn',
    'wkd-l_cascade-rcnn_r101-to-faster-rcnn_r50_fpn',
    'wkd-f-fpn_retinanet_r101-to-retinanet_r18_fpn',
    'wkd-f-fpn_faster-rcnn_r101-to-retinanet_r18_fpn',
    'wkd-f-fpn_atss_r101-to-atss_r50_fpn',
    'wkd-f-fpn_fcos_r101-to-fcos_r50-caffe_fpn_gn-head',
    'wkd-f-fpn_gfl_r101-to-gfl_r50_fpn',
]
CRD = [
    'resnet32x4-to-resnet8x4',
    'wrn_40_2-to-shufflev1',
    'wrn_40_2-to-wrn_40_1',
    'vgg13-to-vgg8',
    'resnet32x4-to-shufflev2',
    'resnet50-to-mobilenetv2',
]
TIMM = [
    'swin_tiny-to-resnet18',
    'vit_small-to-resnet18',
    'mixer_b16-to-mobilenetv2_100',
    'convnext_tiny-to-deit_tiny',
    'convnext_tiny-to-swin_pico',
]
IMAGENET = ['resnet34-to-resnet18', 'resnet50-to-mobilenetv1']


def old_names():
    """Every distilled config of 0.1 whose path is gone: method, pair, schedule by path."""
    folder = 'configs/detection'
    for teacher, student in (('r101', 'r18'), ('r50', 'mobilenetv2'), ('r101', 'r50')):
        for schedule in ('180k', '1x'):
            for method in (*RIVALS, *COMBINED, *WKD):
                name = (
                    f'{method}_faster-rcnn_{teacher}-to-faster-rcnn_{student}_fpn_{schedule}_coco'
                )
                place = 'wkd' if method in WKD else method
                pair = f'faster-rcnn_{teacher}-to-{student}'
                yield f'{folder}/{place}/{name}.py', (method, pair, schedule)
    for kind in KINDS:
        method, teacher, networks = kind.split('_', 2)
        student_kind, _, student = networks.partition('-to-')[2].partition('_')
        pair = f'{teacher}_r101-to-{student_kind + "_" if student_kind != teacher else ""}'
        yield f'{folder}/wkd/{kind}_1x_coco.py', (method, pair + student[:3], '1x')
    folder = 'configs/classification'
    for data, pairs, schedule, methods in (
        ('cifar100', CRD, 'reference', ('l', 'f', 'lf')),
        ('cifar100', CRD[:2], 'paper', ('l', 'f', 'lf')),
        ('cifar100', TIMM, '224', ('l', 'f')),
        ('imagenet', IMAGENET, 'reference', ('l', 'f', 'lf')),
        ('imagenet', IMAGENET, 'paper', ('l', 'f', 'lf')),
    ):
        for pair in pairs:
            for method in methods:
                names = (f'wkd-{method}', f'{data}_{pair}', schedule)
                yield f'{folder}/{data}/wkd/wkd-{method}_{pair}_{schedule}.py', names
    for method in ('l', 'f', 'lf'):
        yield f'{folder}/digits/wkd/wkd-{method}.py', (f'wkd-{method}', 'digits', '120i')
    yield (
        f'{folder}/imagenet/wkd/born-again_gen1_resnet18.py',
        ('wkd-l', 'imagenet_resnet18-to-resnet18', 'born-again'),
    )
    yield 'configs/mini/wkd-f_fpn.py', ('wkd-f-fpn', 'mini', '500i')


def test_old_names_are_answered_with_what_writes_them():
    found = dict(old_names())
    assert len(found) == 108 + 8 + 46 + 3 + 2
    for path, names in found.items():
        method, pair = CATALOGUE.find(*names)
        place = CATALOGUE.place(method, pair)
        command = 'python tools/new_config.py --method {} --pair {} --schedule {}'.format(*names)
        expected = (
            f'{path} is {place.relative_to(ROOT).as_posix()} now'
            if place.is_file()
            else f'{path} is no longer among the configs; this writes it: {command}'
        )
        assert not (ROOT / path).exists()
        for text in (path, f'./{path}', f'/home/me/configs/{path}', f'file "/a/{path}" is not'):
            assert instead_of(CATALOGUE, text) == expected
    gone = 'configs/classification/imagenet/wkd/born-again_gen0_resnet18.py'
    moved = instead_of(CATALOGUE, gone).split()[-2]
    assert (ROOT / moved).is_file()
    assert 'README' in instead_of(CATALOGUE, 'configs/_base_/distill/wkd_l.py')
    for path in ('configs/nowhere.py', 'configs/detection/kd/kd.py', 'nothing', ''):
        assert instead_of(CATALOGUE, path) is None
    impossible = 'configs/detection/kd/kd_gfl_r101-to-gfl_r50_fpn_1x_coco.py'
    assert instead_of(CATALOGUE, impossible) is None


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_tools_answer_to_an_old_path(tool, monkeypatch):
    old = 'configs/detection/kd/kd_faster-rcnn_r101-to-faster-rcnn_r50_fpn_1x_coco.py'
    arguments = [str(ROOT / old)] if tool == 'train.py' else [old, 'nothing.pth', '--teacher']
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    answer, _, command = end.value.code.partition('; this writes it: ')
    assert answer == f'error: {old} is no longer among the configs'
    method, pair = CATALOGUE.find(*command.split()[3::2])
    assert (method.name, pair.path.stem) == ('kd', 'faster-rcnn_r101-to-r50_1x')
