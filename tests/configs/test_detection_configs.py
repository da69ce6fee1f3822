"""Every method for every pair of detectors, as tools/new_config.py writes it."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import mmdet
import pytest
import yaml
from mmengine.config import Config

from config_catalogue.catalogue import Catalogue
from wkd_det.detection.geometry import num_classes
from wkd_det.distillation import TeacherSource
from wkd_det.distillation.empty import empty_network

ROOT = Path(__file__).parents[2]
MMDET = Path(mmdet.__file__).parent / '.mim'
PAIRS = [pair for pair in Catalogue().pairs if '/classification/' not in pair.place]
SMALL = [pair for pair in PAIRS if pair.data in ('mini', 'scenes')]
[MINI, MINI_DINO, MINI_GFL, SCENES] = SMALL
[MAPS] = [pair for pair in PAIRS if pair.kind == 'from-maps']
COCO = [pair for pair in PAIRS if pair not in SMALL]
RUNS = ('faster-rcnn_student', 'faster-rcnn_teacher')
pytestmark = pytest.mark.usefixtures('from_the_root')
each_pair = pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: pair.path.stem)
each_coco_pair = pytest.mark.parametrize('pair', COCO, ids=lambda pair: pair.path.stem)


@functools.cache
def load_config(path: Path) -> Config:
    return Config.fromfile(path)


def student_of(pair):
    """The plain config that a pair adds to."""
    base = Config._get_base_files(str(pair.path))[0]
    package, scoped, name = base.partition('::')
    return MMDET / 'configs' / name if scoped else (pair.path.parent / package).resolve()


def unscoped(value: Any) -> Any:
    """The value without the ``_scope_`` that mmengine notes on what comes from ``mmdet::``."""
    if isinstance(value, dict):
        return {key: unscoped(inner) for key, inner in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [unscoped(inner) for inner in value]
    return value


BUILT = set()
TEACHERS = {}


@each_pair
def test_model_builds_and_its_taps_fit(pair, configs_of):
    """Stages, levels and strides too, which are compared when the teacher is there."""
    for config in configs_of(pair).values():
        assert {'distill', 'settings', 'teacher'} & set(config) == set()
        if str(config.model) in BUILT:  # another schedule of the same pair
            continue
        BUILT.add(str(config.model))
        # On the meta device, where weights take neither time nor memory.
        model, source = empty_network(config.model), config.model.teacher.config
        name = str(source)
        if name not in TEACHERS:
            TEACHERS[name] = empty_network(TeacherSource(source).model_config())
        assert type(model).__name__ == config.model.type
        assert num_classes(model) == (10 if pair in SMALL else 80)
        for term in model.distiller.terms.values():
            term.tap.attach(model, TEACHERS[name], term.connectors)


@each_pair
def test_the_student_is_the_plain_one(pair, configs_of):
    path = student_of(pair)
    baseline = unscoped(load_config(path).to_dict())
    plain = baseline['model']
    if pair in COCO:
        assert f'_{re.split("-to-|_", pair.name)[-1]}' in path.stem
    for method, config in configs_of(pair).items():
        whole = unscoped(config.to_dict())
        model = whole['model']
        assert {key: model[key] for key in plain if key != 'type'} == {
            key: plain[key] for key in plain if key != 'type'
        }
        assert set(model) - set(plain) == {'teacher', 'distill'}
        assert model['type'] == f'Distilled{plain["type"]}'
        assert whole['default_hooks']['checkpoint'].pop('type') == 'ExactCheckpointHook'
        assert baseline['default_hooks']['checkpoint']['type'].endswith('CheckpointHook')
        hooks = copy.deepcopy(baseline['default_hooks'])
        del hooks['checkpoint']['type']
        assert whole['default_hooks'] == hooks
        different = {key for key in {*whole, *baseline} if whole.get(key) != baseline.get(key)}
        assert different - {'model', 'custom_imports', 'work_dir', 'default_hooks'} == (
            {'custom_hooks'} if method == 'icd' else set()
        )
        assert 'work_dir' not in whole
        assert whole['custom_imports']['imports'] == ['wkd_det']


COMBINED = {
    'wkd-lf': ('wkd-l', 'wkd-f'),
    'dkd-reviewkd': ('dkd', 'reviewkd'),
    'reviewkd-wkd': ('reviewkd', 'wkd-l', 'wkd-f'),
    'wkd-lf-box': ('wkd-lf',),
    'wkd-l-sides': ('wkd-l-dense', 'wkd-sides'),
}


@each_pair
def test_a_combination_has_the_terms_that_its_parts_have_alone(pair, configs_of):
    terms = {name: config.model.distill.to_dict() for name, config in configs_of(pair).items()}
    for name, parts in COMBINED.items():
        if name in terms:
            expected = {}
            for part in parts:
                expected.update(terms[part])
            found = dict(terms[name])
            if name == 'wkd-lf-box':
                assert found.pop('loss_wkd_box')['tap'] == 'roi_boxes'
            assert found == expected


# Of the other methods, as published (configs/detection/README.md).
WAYS = ('', '_st', '_ts')
DIVERGENCE = dict(type='KDLoss', temperature=1.0, loss_weight=1.0)
OFFSETS = dict(type='OffsetLoss', loss_weight=1.0)
RIVALS = dict(
    **{f'loss_fcfd_kd{way}': DIVERGENCE for way in WAYS},
    **{f'loss_fcfd_box{way}': OFFSETS for way in WAYS},
    loss_fgfi=dict(type='FGFILoss', loss_weight=0.01),
    loss_wkd_box=dict(type='BoxLoss', diou_weight=20.0, loss_weight=1.0),
    loss_kd=dict(type='KDLoss', temperature=1.0, loss_weight=1.0),
    loss_dkd=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0, loss_weight=1.0),
    loss_fitnet=dict(type='FitNetLoss', loss_weight=1.0),
    loss_nst=dict(type='NSTLoss', loss_weight=50.0),
    loss_ickd=dict(type='ICKDLoss', loss_weight=2.5),
    loss_ld=dict(type='LDLoss', temperature=10.0, loss_weight=2 * 0.25 / 17),
    loss_qfl_kd=dict(type='QualityFocalKDLoss', beta=1.0, loss_weight=1.0),
    loss_crosskd_cls=dict(type='QualityFocalKDLoss', beta=1.0, loss_weight=1.0),
    loss_crosskd_reg=dict(type='LDLoss', temperature=1.0, loss_weight=3.0),
    loss_crosskd_giou=dict(type='BoxGIoULoss', loss_weight=2.0),
    loss_pkd=dict(type='PKDLoss', loss_weight=4 * 6.0),
)
FCFD = {f'loss_fcfd_box{way}' for way in WAYS}
TERMS = {
    'crosskd': {f'loss_crosskd_{part}' for part in ('cls', 'reg', 'giou')},
    'fcfd': {'loss_fcfd_app', *FCFD, *(f'loss_fcfd_kd{way}' for way in WAYS)},
    'fcfd-wkd': {'loss_wkd_f', *FCFD, *(f'loss_wkd_l{way}' for way in WAYS)},
    'kd-query': {'loss_kd_query', 'loss_box_query'},
    'wkd-l-query': {'loss_wkd_l_query', 'loss_box_query'},
}


@each_pair
def test_hyper_parameters_of_other_methods(pair, configs_of):
    for method, config in configs_of(pair).items():
        terms = config.model.distill
        if method not in COMBINED:
            assert set(terms) == TERMS.get(method, {f'loss_{method.replace("-", "_")}'})
        for name, term in terms.items():
            if name not in RIVALS:
                continue
            assert term.loss.to_dict() == RIVALS[name]
            if name.startswith('loss_crosskd'):  # behind the last convolution but one
                depth = config.model.bbox_head.stacked_convs - 1
                assert (term.depth, term.places) == (depth, 'all')
            if term.tap == 'neck':
                few = {SCENES: [0], MINI_GFL: [0, 1], MAPS: [2]}
                assert term.levels == few.get(pair, [0, 1, 2, 3])
            if term.tap == 'roi_logits' and 'fcfd' not in name:
                assert (term.rois, term.background) == ('all', True)


@each_pair
def test_hyper_parameters_that_depend_on_the_pair(pair, configs_of):
    configs = configs_of(pair)
    if 'reviewkd' in configs:
        term = configs['reviewkd'].model.distill.loss_reviewkd
        weights = {'faster-rcnn_r101-to-r50': 1.0, 'faster-rcnn_r50-to-mobilenetv2': 2.0}
        assert term.loss.loss_weight == weights.get(pair.name, 1.2)
        assert term.loss.grids == (4, 2, 1)
        widths = {MINI: 64, MINI_GFL: 32, SCENES: 64}  # of the teacher's pyramid
        assert term.connector.mid_channels == widths.get(pair, 256)
    if 'fcfd' in configs:
        # The sum over levels of mean squares, from a mean over levels of their halves.
        model = configs['fcfd'].model
        term = model.distill.loss_fcfd_app
        assert 'levels' not in term
        assert term.loss == dict(type='FitNetLoss', loss_weight=2.0 * model.neck.num_outs)
    if 'icd' in configs:
        loss = configs['icd'].model.distill.loss_icd.loss
        assert (loss.loss_weight, loss.auxiliary_weight) == (3, 1)
        assert (loss.width, loss.num_heads) == ((64, 4) if pair in SMALL else (256, 8))
        (hook,) = configs['icd'].custom_hooks
        assert hook.warm_up == {MINI: 50, MINI_GFL: 50, SCENES: 80}.get(pair, 1000)
        assert (hook.terms, hook.by_epoch) == (['loss_icd.loss_weight'], False)
    for method in {'fcfd', 'fcfd-wkd'} & set(configs):
        lenders = {
            'fcfd': ('loss_fcfd_app', 'loss_fcfd_kd_ts'),
            'fcfd-wkd': ('loss_wkd_f', 'loss_wkd_l_ts'),
        }[method]
        for name, term in configs[method].model.distill.items():
            lender = term.get('connector')
            if name.endswith('_st'):
                assert (term.head, lender) == ('teacher', lenders[0])
            if name.endswith('_ts'):
                own = dict(type='ConvConnector', kernel_size=3)
                assert (term.head, lender) == (
                    'student',
                    own if name == lenders[1] else lenders[1],
                )


def strides_of(model: Any) -> list[int]:
    head = model.rpn_head if 'rpn_head' in model else model.bbox_head
    return (head if 'strides' in head else head.anchor_generator).strides


OWN = ('loss_wkd_box', 'loss_wkd_l_dense', 'loss_wkd_l_query', 'loss_wkd_sides')


@each_coco_pair
def test_hyper_parameters_are_the_papers(pair, configs_of):
    for config in configs_of(pair).values():
        for name, term in config.model.distill.items():
            loss = term.loss
            # Those that are not in the paper have weights of their own.
            if not name.startswith('loss_wkd') or name in OWN:
                continue
            if name.startswith('loss_wkd_l'):
                assert (loss.temperature, loss.transport_weight, loss.loss_weight) == (1, 1, 1)
                assert loss.sharpness == (1 if pair.name.endswith('mobilenetv2') else 2)
                assert (loss.epsilon, loss.num_iters) == (0.05, 10)
            else:
                assert (loss.mean_cov_ratio, loss.loss_weight) == (2, 5e-3)
                assert term.connector.kernel_size == 3
            if name == 'loss_wkd_f':
                assert (term.roi_size, loss.grid) == (18, 4)
            if name == 'loss_wkd_f_fpn':
                strides = strides_of(config.model)
                assert [strides[level] for level in term.levels] == [16 if pair is MAPS else 8]
                assert loss.grid == 16


PLAIN = {path: path.stem for path in sorted((ROOT / 'configs/detection/baseline').glob('*.py'))}


def scheduled(schedule, configs_of):
    """Configs in a schedule, each with the number of processes of its command."""
    for pair in COCO:
        if pair.schedule == schedule:
            configs = configs_of(pair)
            yield next(iter(configs.values())), pair.command
    for path in PLAIN:
        if f'_{schedule}_' in path.stem:
            text = re.search(r'# Command:(.+?)# Expected', path.read_text(), re.DOTALL).group(1)
            yield load_config(path), text.strip()


def test_180k_schedule(configs_of):
    found = list(scheduled('180k', configs_of))
    assert len(found) == 3 + 3
    for config, command in found:
        assert config.train_cfg.type == 'IterBasedTrainLoop'
        assert config.train_cfg.max_iters == config.param_scheduler[1].end == 180_000
        assert config.param_scheduler[1].milestones == [120_000, 160_000]
        assert config.param_scheduler[1].gamma == 0.1
        optimizer = config.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
        assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
        # 4 processes, as the header's command says, with this many images each.
        processes = int(command.rpartition(' ')[2])
        assert processes * config.train_dataloader.batch_size == 8
        assert config.auto_scale_lr.base_batch_size == 8


def test_1x_schedule(configs_of):
    found = list(scheduled('1x', configs_of))
    assert len(found) == 3 + 9 + 1 + 2
    for config, command in found:
        assert config.train_cfg.max_epochs == 12
        assert config.param_scheduler[1].milestones == [8, 11]
        processes = int(command.rpartition(' ')[2])
        assert processes * config.train_dataloader.batch_size == 16
        assert config.optim_wrapper.optimizer.lr == (0.02 if 'rpn_head' in config.model else 0.01)


@pytest.mark.parametrize(
    'pair', [pair for pair in COCO if pair is not MAPS], ids=lambda pair: pair.path.stem
)
def test_coco_teacher_is_a_released_detector(pair, configs_of):
    kind, backbone = re.match(r'([a-z-]+)_(.+?)-to-', pair.name).groups()
    teacher = next(iter(configs_of(pair).values())).model.teacher
    package, _, released = teacher.config.partition('::')
    assert package == 'mmdet'
    config = load_config(MMDET / 'configs' / released)
    folder = Path(released).parent
    assert folder.name == kind.replace('-', '_')
    if re.fullmatch(r'r\d+', backbone):
        assert config.model.backbone.depth == int(backbone[1:])
    else:
        assert f'_{backbone}_' in Path(released).stem
    metafile = yaml.safe_load((MMDET / 'configs' / folder / 'metafile.yml').read_text())
    weights = {model['Config']: model.get('Weights') for model in metafile['Models']}
    assert teacher.checkpoint == weights[f'configs/{released}']


@pytest.mark.parametrize('pair', SMALL, ids=lambda pair: pair.name)
def test_the_teacher_of_a_small_pair_is_the_one_trained_before(pair, configs_of):
    for config in configs_of(pair).values():
        teacher = config.model.teacher
        trained = load_config(ROOT / 'configs' / teacher.config.removeprefix('wkd_det::'))
        last = f'iter_{trained.train_cfg.max_iters}.pth'
        assert teacher.checkpoint == f'{trained.work_dir}/{last}'
        assert trained.default_hooks.checkpoint.save_last


@pytest.mark.parametrize(
    ('pair', 'kind', 'steps', 'teacher_steps', 'data'),
    [
        (MINI, 'faster-rcnn', 500, 600, 'data/mini_digits/'),
        (MINI_GFL, 'gfl', 500, 1000, 'data/mini_digits/'),
        (MINI_DINO, 'dino', 1000, 1500, 'data/mini_digits/'),
        (SCENES, 'faster-rcnn', 2400, 4800, 'data/photo_scenes/'),
    ],
    ids=lambda value: getattr(value, 'name', None),
)
def test_small_runs_take_equal_steps_and_end_with_an_evaluation(
    pair, kind, steps, teacher_steps, data, configs_of
):
    folder = pair.data
    runs = [f'{kind}_{who}' for who in ('student', 'teacher')]
    configs = {name: load_config(ROOT / f'configs/{folder}/{name}.py') for name in runs}
    assert [config.work_dir for config in configs.values()] == [
        f'work_dirs/{folder}/{name}' for name in runs
    ]
    for name, config in {**configs, **configs_of(pair)}.items():
        found = config.train_cfg.max_iters
        assert found == (teacher_steps if name == runs[1] else steps)
        assert found % config.train_cfg.val_interval == 0
        assert config.param_scheduler[-1].end == found
        for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
            assert loader.dataset.data_root == data
            assert len(loader.dataset.metainfo.classes) == 10
            assert loader.num_workers == 0


def test_detectors_of_the_scenes_begin_with_the_backbones_that_their_configs_train():
    for name, width in zip(RUNS, (16, 32)):
        detector = load_config(ROOT / f'configs/scenes/{name}.py').model
        trained = load_config(ROOT / f'configs/scenes/backbones/resnet18-w{width}.py')
        backbone = dict(detector.backbone)
        last = f'epoch_{trained.train_cfg.max_epochs}.pth'
        assert backbone['init_cfg'] == dict(
            type='Pretrained',
            checkpoint=f'{trained.work_dir}/{last}',
            prefix='network.backbone.',
        )
        network = trained.model.network
        assert (backbone['depth'], backbone['base_channels']) == (18, width)
        assert (network.backbone.depth, network.backbone.base_channels) == (18, width)
        scale = trained.model.data_preprocessor
        assert detector.data_preprocessor.mean == scale.mean
        assert detector.data_preprocessor.std == scale.std
        assert detector.data_preprocessor.bgr_to_rgb
