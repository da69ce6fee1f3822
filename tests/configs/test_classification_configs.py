"""Classification configs: they build, say what the table of the paper says, and take a step."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

import wkd_det  # noqa: F401  registers everything

ROOT = Path(__file__).parents[2]
FOLDER = 'configs/classification'
ALL = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / FOLDER).rglob('*.py'))
DISTILLED = [path for path in ALL if re.match(r'wkd-|born-again_gen1', Path(path).name)]
REFERENCE = [path for path in ALL if path.endswith('_reference.py')]
PAPER = [path for path in ALL if path.endswith('_paper.py')]
TRANSFORMER = [path for path in DISTILLED if path.endswith('_224.py')]
CLASSES = dict(digits=10, cifar100=100, imagenet=1000)
CRD = {
    'resnet32x4-to-resnet8x4',
    'wrn_40_2-to-wrn_40_1',
    'vgg13-to-vgg8',
    'resnet32x4-to-shufflev2',
    'wrn_40_2-to-shufflev1',
    'resnet50-to-mobilenetv2',
}


@pytest.fixture(scope='module', autouse=True)
def _from_the_root():
    init_default_scope('mmdet')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@functools.cache
def load_config(path):
    return Config.fromfile(path)


def pair_of(path):
    return re.search(r'wkd-[lf]+_(.+-to-[a-z0-9_]+?)_(?:reference|paper|224)', path).group(1)


def terms_of(path):
    return load_config(path).model.distill


def test_the_promised_configs_are_there():
    for method in ('wkd-l', 'wkd-f', 'wkd-lf'):
        found = {pair_of(path) for path in REFERENCE if f'/{method}_' in path}
        assert found == CRD | {'resnet34-to-resnet18', 'resnet50-to-mobilenetv1'}
        assert {pair_of(path) for path in PAPER if f'/{method}_' in path} == {
            'resnet32x4-to-resnet8x4',
            'wrn_40_2-to-shufflev1',
            'resnet34-to-resnet18',
            'resnet50-to-mobilenetv1',
        }
    assert len({pair_of(path) for path in TRANSFORMER}) == 5
    assert {'born-again_gen0_resnet18', 'born-again_gen1_resnet18'} <= {Path(p).stem for p in ALL}


@pytest.mark.parametrize('path', ALL)
def test_model_builds_with_the_classes_of_its_data(path):
    # On the meta device, where weights take neither time nor memory; shapes are probed there too.
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(load_config(path).model))
    assert model.num_classes == CLASSES[path.split('/')[2]]
    assert type(model).__name__ == ('DistilledClassifier' if path in DISTILLED else 'Classifier')
    if path in DISTILLED:
        assert set(model.distiller.terms) == set(terms_of(path))
        methods = re.match(r'wkd-([lf]+)', Path(path).name)
        letters = methods.group(1) if methods else 'l'
        assert set(terms_of(path)) == {f'loss_wkd_{letter}' for letter in letters}
        for term in model.distiller.terms.values():
            term.tap.check(model, None, term.connectors)  # sizes fit after the connector


@pytest.mark.parametrize('path', DISTILLED)
def test_the_student_is_the_plain_one(path):
    plain = {
        str(load_config(other).model.to_dict())
        for other in ALL
        if other not in DISTILLED and path.split('/')[2] in other
    }
    model = load_config(path).model.to_dict()
    own = {key: model[key] for key in model if key not in ('teacher', 'distill', 'image_size')}
    assert str(dict(own, type='Classifier')) in plain


# lr, lambda, weight of WKD-F, first epoch after the full weight, temperature, kappa, gamma, grid
TABLE = {
    'wkd-l_resnet32x4-to-resnet8x4': (0.05, 600, None, 150, 8, 1, None, None),
    'wkd-l_wrn_40_2-to-shufflev1': (0.01, 200, None, 150, 6, 1, None, None),
    'wkd-f_resnet32x4-to-resnet8x4': (0.05, None, 0.08, 150, None, None, 4, 1),
    'wkd-f_wrn_40_2-to-shufflev1': (0.01, None, 0.3, 150, None, None, 3, 4),
    'wkd-lf_resnet32x4-to-resnet8x4': (0.05, 200, 0.08, 150, 8, 1, 8, 1),
    'wkd-lf_wrn_40_2-to-shufflev1': (0.01, 60, 0.5, 150, 4, 1, 3, 4),
    'wkd-l_resnet34-to-resnet18': (0.1, 30, None, 0, 2, 1, None, None),
    'wkd-f_resnet34-to-resnet18': (0.1, None, 0.02, 0, None, None, 2, 4),
    'wkd-lf_resnet34-to-resnet18': (0.1, 10, 1.0, 0, 2, 1, 2, 4),
    'wkd-l_resnet50-to-mobilenetv1': (0.1, 25, None, 0, 2, 2, None, None),
    'wkd-f_resnet50-to-mobilenetv1': (0.1, None, 0.005, 30, None, None, 2, 4),
    'wkd-lf_resnet50-to-mobilenetv1': (0.1, 25, 0.005, 0, 2, 2, 2, 4),
}


def row_of(path):
    config = load_config(path)
    logits = config.model.distill.get('loss_wkd_l', {}).get('loss', {})
    features = config.model.distill.get('loss_wkd_f', {}).get('loss', {})
    hooks = [hook for hook in config.get('custom_hooks', []) if hook.type == 'TermScheduleHook']
    return (
        config.optim_wrapper.optimizer.lr,
        logits.get('transport_weight'),
        features.get('loss_weight'),
        hooks[0].decay_from if hooks else None,
        logits.get('temperature'),
        logits.get('sharpness'),
        features.get('mean_cov_ratio'),
        features.get('grid'),
    )


@pytest.mark.parametrize('name', TABLE)
def test_reference_settings_are_those_of_the_reference_code(name):
    [path] = [path for path in REFERENCE if f'/{name}_' in path]
    assert row_of(path) == TABLE[name]
    optimizer = load_config(path).optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.nesterov) == ('SGD', 0.9, True)
    for term in terms_of(path).values():
        assert term.loss.get('num_iters', 10) == 10
        assert term.loss.get('unbiased', True)


@pytest.mark.parametrize('name', TABLE)
def test_paper_settings_differ_where_the_paper_does(name):
    [path] = [path for path in PAPER if f'/{name}_' in path]
    expected = list(TABLE[name])
    expected[3] = None  # no decay
    imagenet = 'resnet34' in name or 'mobilenetv1' in name
    if imagenet and expected[7] is not None:
        expected[7] = 1
    if 'mobilenetv1' in name:
        expected[5] = None if expected[5] is None else 1
        expected[2] = None if expected[2] is None else 0.001
    assert row_of(path) == tuple(expected)
    assert not load_config(path).optim_wrapper.optimizer.nesterov
    for name, term in terms_of(path).items():
        if name == 'loss_wkd_l':
            assert term.loss.num_iters == 9
            assert term.loss.cost.path.startswith('data/interrelation/')
        else:
            assert term.loss.unbiased is False


@pytest.mark.parametrize('path', TRANSFORMER)
def test_settings_of_cnn_and_transformer(path):
    config = load_config(path)
    optimizer, epochs = config.optim_wrapper.optimizer, config.train_cfg.max_epochs
    assert (config.train_dataloader.batch_size, epochs) == (512, 300)
    student = pair_of(path).partition('-to-')[2]
    transformer = student in ('deit_tiny', 'swin_pico')
    expected = ('AdamW', 2.5e-4, 2e-3) if transformer else ('SGD', 2.5e-2, 2e-3)
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == expected
    for name, term in terms_of(path).items():
        if name == 'loss_wkd_l':
            assert (term.loss.temperature, term.loss.sharpness) == (2, 1)
            assert 50 <= term.loss.transport_weight <= 200
        else:
            assert (term.loss.mean_cov_ratio, term.loss.grid) == (2, 1)
            assert 0.01 <= term.loss.loss_weight <= 0.08
            assert term.connector.to_dict() == dict(type='ConvConnector', norm_cfg=None)


@pytest.mark.parametrize('path', ALL)
def test_schedules_and_batches(path):
    config = load_config(path)
    processes = 4 if '/imagenet/' in path else 1
    batch = processes * config.train_dataloader.batch_size
    assert config.auto_scale_lr.base_batch_size == batch
    if '/imagenet/' in path:
        expected = (256, 100, [30, 60, 90])
    elif '/cifar100/' in path and not path.endswith('_224.py'):
        expected = (64, 240, [150, 180, 210])
    else:
        return
    length = config.train_cfg.max_epochs
    assert (batch, length, config.param_scheduler.milestones) == expected


@pytest.mark.parametrize('path', DISTILLED)
def test_teacher_is_a_config_and_where_its_training_ends(path):
    teacher = load_config(path).model.teacher
    trained = load_config(teacher.config)
    if teacher.checkpoint.startswith('work_dirs/'):
        length = trained.train_cfg
        last = f'iter_{length.max_iters}' if 'max_iters' in length else f'epoch_{length.max_epochs}'
        assert teacher.checkpoint == f'{trained.work_dir}/{last}.pth'


# One step of each family


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    generator = np.random.default_rng(0)
    (folder / 'class 3').mkdir()
    for index in range(2):
        pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'class 3' / f'{index}.png')
    return folder


STEPS = [
    'digits/wkd/wkd-lf',
    'cifar100/wkd/wkd-l_resnet32x4-to-resnet8x4_reference',
    'cifar100/wkd/wkd-f_resnet32x4-to-shufflev2_reference',
    'cifar100/wkd/wkd-lf_wrn_40_2-to-shufflev1_paper',
    'cifar100/wkd/wkd-f_vit_small-to-resnet18_224',
    'cifar100/wkd/wkd-f_convnext_tiny-to-swin_pico_224',
    'imagenet/wkd/wkd-lf_resnet50-to-mobilenetv1_reference',
    'imagenet/wkd/born-again_gen1_resnet18',
]


@pytest.mark.parametrize('name', STEPS)
def test_one_step(name, images, tmp_path):
    config = copy.deepcopy(load_config(f'{FOLDER}/{name}.py'))
    torch.manual_seed(0)
    teacher = MODELS.build(load_config(config.model.teacher.config).model)
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    config.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    classes = CLASSES[name.split('/')[0]]
    if 'loss_wkd_l' in config.model.distill:
        distance = torch.rand(classes, classes)
        distance = (distance + distance.T) / 2
        torch.save(distance.fill_diagonal_(0), tmp_path / 'cost.pth')
        cost = dict(type='FileCost', path=str(tmp_path / 'cost.pth'), by_position=True)
        config.model.distill.loss_wkd_l.loss.cost = cost
    transforms = config.train_dataloader.dataset.get('transforms', [])
    config.train_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='collate_images'),
        dataset=dict(
            type='ImageFolderDataset',
            data_root=str(images),
            classes=[f'class {index}' for index in range(classes)],
            transforms=transforms,
        ),
    )
    # Two epochs of one step: a decay from epoch 0 halves the terms in the first.
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    for hook in config.get('custom_hooks', []):
        hook.decay_from = 0
    if isinstance(config.param_scheduler, list):
        config.param_scheduler = []
    for phase in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            config[f'{phase}_{part}'] = None
    config.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'experiment_name': name.replace('/', '_'),
            'env_cfg.dist_cfg.backend': 'gloo',
            'default_hooks.logger.interval': 1,
            'default_hooks.checkpoint': dict(interval=-1, save_last=False, by_epoch=True),
            'log_processor': dict(window_size=1, by_epoch=True),
        }
    )
    runner = Runner.from_cfg(config)
    before = {key: value.detach().clone() for key, value in runner.model.named_parameters()}
    runner.train()
    for term in config.model.distill:
        values = runner.message_hub.get_scalar(f'train/{term}').data[0]
        assert np.isfinite(values).all()
        assert values[0] > 0
        if config.get('custom_hooks') and term == 'loss_wkd_f':
            assert values[1] == 0  # the decay has reached its end
    moved = {key for key, value in runner.model.named_parameters() if not value.equal(before[key])}
    assert any(key.startswith('network.') for key in moved)
    assert any('connectors' in key for key in moved) == ('loss_wkd_f' in config.model.distill)
