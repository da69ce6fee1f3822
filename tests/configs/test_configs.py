"""Every config parses, builds, says what it is, and is listed where readers look for it."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmdet
import mmengine.config.utils
import pytest
import torch
import yaml
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from wkd_det.detection import detectors
from wkd_det.detection.geometry import num_classes
from wkd_det.distillation.teacher import TeacherSource

ROOT = Path(__file__).parents[2]
MMDET = Path(mmdet.__file__).parent / '.mim'
ALL = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
DETECTION = [path for path in ALL if path.startswith(('configs/detection/', 'configs/mini/'))]
DISTILLED = [path for path in DETECTION if not Path(path).name.startswith('faster-rcnn_')]
PLAIN = [path for path in DETECTION if path not in DISTILLED]
# Pairs of two Faster R-CNNs, as in the paper; then all other kinds of detectors.
COCO = [path for path in DISTILLED if re.search(r'_faster-rcnn_\w+-to-faster-rcnn_', path)]
KINDS = [path for path in DISTILLED if path.startswith('configs/detection/') and path not in COCO]
MINI = [path for path in DETECTION if path.startswith('configs/mini/')]
METAFILES = sorted((ROOT / 'configs').rglob('metafile.yml'))
READMES = sorted((ROOT / 'configs').rglob('README.md'))
HEADER = ('Method', 'Pair', 'Needs', 'Command', 'Expected')
# FCFD: the student, its features through the teacher's head, the teacher's through the student's.
WAYS = ('', '_st', '_ts')
FCFD_BOXES = {f'loss_fcfd_box{way}' for way in WAYS}
# The terms of each method, by its name in the names of the configs.
METHODS = {
    'dkd': {'loss_dkd'},
    'dkd-reviewkd': {'loss_dkd', 'loss_reviewkd'},
    'fcfd': {'loss_fcfd_app', *FCFD_BOXES, *(f'loss_fcfd_kd{way}' for way in WAYS)},
    'fcfd-wkd': {'loss_wkd_f', *FCFD_BOXES, *(f'loss_wkd_l{way}' for way in WAYS)},
    'fgfi': {'loss_fgfi'},
    'fitnet': {'loss_fitnet'},
    'icd': {'loss_icd'},
    'ickd': {'loss_ickd'},
    'kd': {'loss_kd'},
    'nst': {'loss_nst'},
    'pkd': {'loss_pkd'},
    'reviewkd': {'loss_reviewkd'},
    'reviewkd-wkd': {'loss_reviewkd', 'loss_wkd_l', 'loss_wkd_f'},
    'wkd-f': {'loss_wkd_f'},
    'wkd-f-fpn': {'loss_wkd_f_fpn'},
    'wkd-l': {'loss_wkd_l'},
    'wkd-lf': {'loss_wkd_l', 'loss_wkd_f'},
    'wkd-lf-box': {'loss_wkd_l', 'loss_wkd_f', 'loss_wkd_box'},
}
PAIRS = {('r101', 'r18'), ('r50', 'mobilenetv2'), ('r101', 'r50')}


@pytest.fixture(scope='module', autouse=True)
def _fast_and_from_the_root() -> Iterator[None]:
    """Work where users do; read MMDetection's 90 metafiles once and not for every config."""
    register_all_modules()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        load = mmengine.config.utils.load
        patch.setattr(mmengine.config.utils, 'load', functools.cache(load))
        yield


@functools.cache
def load_config(path: str) -> Config:
    return Config.fromfile(path)


def header_of(path: str) -> dict[str, str]:
    """The header's fields; a field goes on over the indented lines that follow it."""
    fields: dict[str, str] = {}
    name = ''
    for line in (ROOT / path).read_text().splitlines():
        if not line.startswith('#'):
            break
        text = line[1:].strip()
        field = re.match(r'(\w+): +(.+)', text)
        if field:
            name = field.group(1)
            fields[name] = field.group(2)
        elif name and line.startswith('#   '):
            fields[name] += ' ' + text
        else:
            name = ''
    return fields


def distillation_of(path: str) -> tuple[str, str, str]:
    """Methods, teacher and student, as the name of a COCO config says."""
    pattern = r'([a-z-]+)_[a-z-]+_(\w+)-to-[a-z-]+_([\w-]+)_fpn_(?:gn-head_)?(?:180k|1x)_coco'
    return re.fullmatch(pattern, Path(path).stem).groups()


def baseline_of(path: str) -> str:
    """The plain config that a distilled one adds to."""
    if path in MINI:
        return 'configs/mini/faster-rcnn_student.py'
    student = Path(path).name.partition('-to-')[2]
    own = f'configs/detection/baseline/{student}'
    if own in PLAIN:
        return own
    (released,) = (MMDET / 'configs').glob(f'*/{student}')
    return str(released)


def kinds_of(path: str) -> tuple[str, str]:
    """Kinds of teacher and student, as the name of a COCO config says."""
    return re.search(r'_([a-z-]+)_\w+-to-([a-z-]+)_', Path(path).stem).groups()


def unscoped(value: Any) -> Any:
    """The value without the ``_scope_`` that mmengine notes on what comes from ``mmdet::``."""
    if isinstance(value, dict):
        return {key: unscoped(inner) for key, inner in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [unscoped(inner) for inner in value]
    return value


def method_of(path: str) -> str:
    """The key in ``METHODS``."""
    return Path(path).stem.replace('_', '-') if path in MINI else distillation_of(path)[0]


def test_the_promised_configs_are_there() -> None:
    assert len(COCO) == len(METHODS) * len(PAIRS) * 2
    assert {distillation_of(path) for path in COCO} == {
        (method, *pair) for method in METHODS for pair in PAIRS
    }
    assert sorted(method_of(path) for path in MINI if path in DISTILLED) == sorted(METHODS)
    assert len(PLAIN) == 2 + 5


def test_every_kind_has_a_config() -> None:
    made = {name for name in vars(detectors) if name.startswith('Distilled')}
    assert {load_config(path).model.type for path in DISTILLED} == made
    mixed = [path for path in KINDS if kinds_of(path)[0] != kinds_of(path)[1]]
    assert [kinds_of(path) for path in mixed] == [
        ('faster-rcnn', 'retinanet'), ('cascade-rcnn', 'faster-rcnn'),
    ]  # fmt: skip


@pytest.mark.parametrize('path', ALL)
def test_header_says_what_and_how(path: str) -> None:
    header = header_of(path)
    assert [name for name in HEADER if name not in header] == []
    assert f' {path}' in header['Command']
    for script in re.findall(r'tools/\S+', header['Command']):
        assert (ROOT / script).is_file()


@pytest.mark.parametrize('path', ALL)
def test_parses_and_leaves_no_fragment_behind(path: str) -> None:
    left = [key for key in load_config(path) if key.startswith('loss_')]
    assert left == []
    assert {'student', 'teacher'} & set(load_config(path)) == set()


@pytest.mark.parametrize('path', DETECTION)
def test_model_builds(path: str) -> None:
    # On the meta device, where weights take neither time nor memory.
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(load_config(path).model))
    assert type(model).__name__ == load_config(path).model.type
    assert num_classes(model) == (10 if path in MINI else 80)


@pytest.mark.parametrize('path', KINDS)
def test_taps_fit_student_and_teacher(path: str) -> None:
    """Stages, levels and strides, which are compared when the teacher is there."""
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(load_config(path).model))
        teacher = MODELS.build(TeacherSource(load_config(path).model.teacher.config).model_config())
    for term in model.distiller.terms.values():
        term.tap.check(model, teacher, term.connectors)


@pytest.mark.parametrize('path', DISTILLED)
def test_the_student_is_the_plain_one(path: str) -> None:
    config = unscoped(load_config(path).to_dict())
    baseline = unscoped(load_config(baseline_of(path)).to_dict())
    model, plain = config['model'], baseline['model']
    assert {key: model[key] for key in plain if key != 'type'} == {
        key: plain[key] for key in plain if key != 'type'
    }
    assert set(model) - set(plain) == {'teacher', 'distill'}
    assert model['type'] == f'Distilled{plain["type"]}'
    assert config['default_hooks']['checkpoint'].pop('type') == 'ExactCheckpointHook'
    assert baseline['default_hooks']['checkpoint'].pop('type').endswith('CheckpointHook')
    different = {key for key in {*config, *baseline} if config.get(key) != baseline.get(key)}
    assert different - {'model', 'custom_imports', 'work_dir'} == (
        {'custom_hooks'} if method_of(path) == 'icd' else set()
    )
    assert config['custom_imports']['imports'] == ['wkd_det']


@pytest.mark.parametrize('path', DISTILLED)
def test_terms_are_those_of_the_name(path: str) -> None:
    assert set(load_config(path).model.distill) == METHODS[method_of(path)]


# Of the other methods, as their READMEs tell.
DIVERGENCE = dict(type='KDLoss', temperature=1.0, loss_weight=1.0)
OFFSETS = dict(type='OffsetLoss', loss_weight=1.0)
RIVALS = dict(
    **{f'loss_fcfd_kd{way}': DIVERGENCE for way in WAYS},
    **{name: OFFSETS for name in FCFD_BOXES},
    loss_fgfi=dict(type='FGFILoss', loss_weight=0.01),
    loss_wkd_box=dict(type='BoxLoss', diou_weight=20.0, loss_weight=1.0),
    loss_kd=dict(type='KDLoss', temperature=1.0, loss_weight=1.0),
    loss_dkd=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0, loss_weight=1.0),
    loss_fitnet=dict(type='FitNetLoss', loss_weight=1.0),
    loss_nst=dict(type='NSTLoss', loss_weight=50.0),
    loss_ickd=dict(type='ICKDLoss', loss_weight=2.5),
    loss_pkd=dict(type='PKDLoss', loss_weight=4 * 6.0),
)


@pytest.mark.parametrize('path', DISTILLED)
def test_hyper_parameters_of_other_methods(path: str) -> None:
    for name, term in load_config(path).model.distill.items():
        if name not in RIVALS:
            continue
        assert term.loss.to_dict() == RIVALS[name]
        if term.tap == 'neck':
            assert term.levels == [0, 1, 2, 3]
        if term.tap == 'roi_logits' and 'fcfd' not in name:
            assert (term.rois, term.background) == ('all', True)


@pytest.mark.parametrize('path', DISTILLED)
def test_hyper_parameters_that_depend_on_the_pair(path: str) -> None:
    terms = load_config(path).model.distill
    student = 'mini' if path in MINI else distillation_of(path)[2]
    if 'loss_reviewkd' in terms:
        term = terms.loss_reviewkd
        assert term.loss.loss_weight == {'r50': 1.0, 'mobilenetv2': 2.0}.get(student, 1.2)
        assert term.loss.grids == (4, 2, 1)
        assert term.connector.mid_channels == (64 if path in MINI else 256)
    if 'loss_fcfd_app' in terms:
        # The sum over levels of mean squares, from a mean over levels of their halves.
        levels = load_config(path).model.neck.num_outs
        assert 'levels' not in terms.loss_fcfd_app
        assert terms.loss_fcfd_app.loss == dict(type='FitNetLoss', loss_weight=2.0 * levels)
    if 'loss_icd' in terms:
        loss = terms.loss_icd.loss
        assert (loss.loss_weight, loss.auxiliary_weight) == (3, 1)
        assert (loss.width, loss.num_heads) == ((64, 4) if path in MINI else (256, 8))
        (hook,) = load_config(path).custom_hooks
        assert hook.warm_up == (50 if path in MINI else 1000)
        assert (hook.terms, hook.by_epoch) == (['loss_icd.loss_weight'], False)
    for name, term in terms.items():
        lender = term.get('connector')
        if name.endswith('_st'):
            assert (term.head, lender) == (
                'teacher',
                'loss_fcfd_app' if 'loss_fcfd_app' in terms else 'loss_wkd_f',
            )
        if name.endswith('_ts'):
            assert term.head == 'student'
            own = 'loss_fcfd_kd_ts' if 'loss_fcfd_kd_ts' in terms else 'loss_wkd_l_ts'
            assert lender == (dict(type='ConvConnector', kernel_size=3) if name == own else own)


def strides_of(model: Any) -> list[int]:
    head = model.rpn_head if 'rpn_head' in model else model.bbox_head
    return (head if 'strides' in head else head.anchor_generator).strides


@pytest.mark.parametrize('path', [*COCO, *KINDS])
def test_hyper_parameters_are_the_papers(path: str) -> None:
    _, _, student = distillation_of(path)
    for name, term in load_config(path).model.distill.items():
        loss = term.loss
        if not name.startswith('loss_wkd') or name == 'loss_wkd_box':
            continue
        if name.startswith('loss_wkd_l'):
            assert (loss.temperature, loss.transport_weight, loss.loss_weight) == (1, 1, 1)
            assert loss.sharpness == (1 if student == 'mobilenetv2' else 2)
            assert (loss.epsilon, loss.num_iters) == (0.05, 10)
        else:
            assert (loss.mean_cov_ratio, loss.loss_weight) == (2, 5e-3)
            assert term.connector.kernel_size == 3
        if name == 'loss_wkd_f':
            assert (term.roi_size, loss.grid) == (18, 4)
        if name == 'loss_wkd_f_fpn':
            strides = strides_of(load_config(path).model)
            assert [strides[level] for level in term.levels] == [8]  # P3
            assert loss.grid == 16


@pytest.mark.parametrize('path', [path for path in DETECTION if '180k' in path])
def test_180k_schedule(path: str) -> None:
    config = load_config(path)
    assert config.train_cfg.type == 'IterBasedTrainLoop'
    assert config.train_cfg.max_iters == config.param_scheduler[1].end == 180_000
    assert config.param_scheduler[1].milestones == [120_000, 160_000]
    assert config.param_scheduler[1].gamma == 0.1
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    # 4 processes, as the header's command says, with this many images each.
    command = header_of(path)['Command']
    processes = int(command.rpartition(' ')[2])
    assert processes * config.train_dataloader.batch_size == 8
    assert config.auto_scale_lr.base_batch_size == 8


@pytest.mark.parametrize('path', [path for path in DETECTION if '1x' in path])
def test_1x_schedule(path: str) -> None:
    config = load_config(path)
    assert config.train_cfg.max_epochs == 12
    assert config.param_scheduler[1].milestones == [8, 11]
    processes = int(header_of(path)['Command'].rpartition(' ')[2])
    assert processes * config.train_dataloader.batch_size == 16
    assert config.optim_wrapper.optimizer.lr == (0.02 if 'rpn_head' in config.model else 0.01)


@pytest.mark.parametrize('path', [*COCO, *KINDS])
def test_coco_teacher_is_a_released_detector(path: str) -> None:
    _, name, _ = distillation_of(path)
    teacher = load_config(path).model.teacher
    package, _, released = teacher.config.partition('::')
    assert package == 'mmdet'
    config = load_config(str(MMDET / 'configs' / released))
    folder = Path(released).parent
    assert folder.name == kinds_of(path)[0].replace('-', '_')
    assert f'r{config.model.backbone.depth}' == name
    metafile = yaml.safe_load((MMDET / 'configs' / folder / 'metafile.yml').read_text())
    weights = {model['Config']: model.get('Weights') for model in metafile['Models']}
    assert teacher.checkpoint == weights[f'configs/{released}']


@pytest.mark.parametrize('path', [path for path in MINI if path in DISTILLED])
def test_mini_teacher_is_the_one_trained_before(path: str) -> None:
    teacher = load_config(path).model.teacher
    trained = load_config(teacher.config)
    last = f'iter_{trained.train_cfg.max_iters}.pth'
    assert teacher.checkpoint == f'{trained.work_dir}/{last}'
    assert trained.default_hooks.checkpoint.save_last


@pytest.mark.parametrize('path', MINI)
def test_mini_runs_end_with_an_evaluation_in_their_own_folder(path: str) -> None:
    config = load_config(path)
    assert config.work_dir == f'work_dirs/mini/{Path(path).stem}'
    assert config.train_cfg.val_interval == config.train_cfg.max_iters
    assert config.param_scheduler[-1].end == config.train_cfg.max_iters
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert loader.dataset.data_root == 'data/mini_digits/'
        assert len(loader.dataset.metainfo.classes) == 10
        assert loader.num_workers == 0


@pytest.mark.parametrize('path', MINI)
def test_mini_students_take_equal_steps(path: str) -> None:
    steps = load_config(path).train_cfg.max_iters
    assert steps == (600 if path.endswith('teacher.py') else 500)


def test_no_base_file_is_unused() -> None:
    used: set[Path] = set()

    def follow(path: Path) -> None:
        bases = Config._get_base_files(str(path))
        for base in bases:
            if '::' not in base and (path.parent / base).resolve() not in used:
                used.add((path.parent / base).resolve())
                follow((path.parent / base).resolve())

    for path in ALL:
        follow(ROOT / path)
    strategies = (ROOT / 'configs/_base_/strategies').glob('*.py')  # for configs of the user's
    assert sorted({*(ROOT / 'configs/_base_').rglob('*.py')} - used - {*strategies}) == []


@pytest.mark.parametrize('readme', READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_readme_names_files_that_exist(readme: Path) -> None:
    text = readme.read_text()
    links = re.findall(r'\]\(([^)#]+)[^)]*\)', text)
    local = [link for link in links if '://' not in link]
    assert [link for link in local if not (readme.parent / link).is_file()] == []
    named = re.findall(r'(?<![\w/:.-])(?:configs|tools|tests|wkd_det)/[\w./-]+\.\w+', text)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    released = re.findall(r'mmdet::([\w./-]+)', text)
    assert [name for name in released if not (MMDET / 'configs' / name).is_file()] == []


@pytest.mark.parametrize('path', ALL)
def test_listed_in_readme_and_metafile(path: str) -> None:
    folder = (ROOT / path).parent
    assert f'({Path(path).name})' in (folder / 'README.md').read_text()
    models = yaml.safe_load((folder / 'metafile.yml').read_text())['Models']
    assert [model['Config'] for model in models].count(path) == 1


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_metafile_agrees_with_the_configs(metafile: Path) -> None:
    content = yaml.safe_load(metafile.read_text())
    collections = {collection['Name']: collection for collection in content['Collections']}
    assert all((ROOT / collection['README']).is_file() for collection in collections.values())
    names = [model['Name'] for model in content['Models']]
    assert len(set(names)) == len(names)
    for model in content['Models']:
        assert model['In Collection'] in collections
        config = load_config(model['Config'])
        length, steps = config.train_cfg, model['Metadata']
        assert length.get('max_iters') == steps.get('Iterations')
        assert length.get('max_epochs') == steps.get('Epochs')
        teacher = config.model.get('teacher', {})
        assert teacher.get('config') == steps.get('Teacher', {}).get('Config')
        if 'Weights' in steps.get('Teacher', {}):
            assert teacher.checkpoint == steps['Teacher']['Weights']
        # A result may be given only where the header gives one too.
        assert ('Results' in model) == ('not yet run' not in header_of(model['Config'])['Expected'])


def test_model_index_imports_every_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import'] == [str(path.relative_to(ROOT)) for path in METAFILES]
