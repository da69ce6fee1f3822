"""Classification configs: they build, say what the table of the paper says, and take a step."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from config_catalogue.catalogue import Catalogue

ROOT = Path(__file__).parents[2]
CATALOGUE = Catalogue()
KINDS = ('cnn', 'cnn-transformer', 'self', 'alone', 'reference')
PAIRS = [pair for pair in CATALOGUE.pairs if pair.kind in KINDS]
TAUGHT = [pair for pair in PAIRS if pair.teacher != 'none']
FOLDER = ROOT / 'configs/classification'
PLAIN = sorted(path for path in FOLDER.rglob('*.py') if path.parent.name == 'baseline')
CLASSES = dict(digits=10, cifar100=100, imagenet=1000)
REFERENCE = {
    'resnet32x4-to-resnet8x4',
    'wrn_40_2-to-wrn_40_1',
    'vgg13-to-vgg8',
    'resnet32x4-to-shufflev2',
    'wrn_40_2-to-shufflev1',
    'resnet50-to-mobilenetv2',
}
CRD = REFERENCE | {
    'wrn_40_2-to-wrn_16_2',
    'resnet56-to-resnet20',
    'resnet110-to-resnet20',
    'resnet110-to-resnet32',
    'vgg13-to-mobilenetv2',
    'resnet50-to-vgg8',
    'resnet32x4-to-shufflev1',
}
OWN = ('teacher', 'distill', 'image_size', 'places')  # of a distilled model
IMAGENET = {'resnet34-to-resnet18', 'resnet50-to-mobilenetv1'}
pytestmark = pytest.mark.usefixtures('from_the_root')
each_pair = pytest.mark.parametrize('pair', TAUGHT, ids=lambda pair: pair.path.stem)


@pytest.fixture(scope='module')
def wkd_of(configs_of):
    """Configs of WKD for a pair."""
    return functools.partial(configs_of, names=('wkd-l', 'wkd-f', 'wkd-lf'))


@functools.cache
def load_config(path):
    return Config.fromfile(path)


def names_of(schedule):
    """Teacher and student of the pairs of a schedule, without the data set."""
    return {pair.name.partition('_')[2] for pair in PAIRS if pair.schedule == schedule}


def data_of(pair):
    return pair.data.partition('-')[0]


def test_the_promised_pairs_are_there():
    assert names_of('reference') == REFERENCE | IMAGENET
    assert names_of('paper') == CRD | IMAGENET
    assert len(names_of('224')) == 5
    assert names_of('born-again') == {'resnet18-to-resnet18'}
    assert names_of('self') == {'resnet18'}


def check_model(config, pair):
    assert {'distill', 'settings', 'teacher', 'student', 'train_dataset'} & set(config) == set()
    # On the meta device, where weights take neither time nor memory; shapes are probed there.
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(config.model))
    assert model.num_classes == CLASSES[data_of(pair)]
    assert type(model).__name__ == 'DistilledClassifier'
    assert set(model.distiller.terms) == set(config.model.distill)
    for term in model.distiller.terms.values():
        term.tap.attach(model, None, term.connectors)  # sizes fit after the connector
    return model


@each_pair
def test_model_builds_with_the_classes_of_its_data(pair, wkd_of):
    for method, config in wkd_of(pair).items():
        model = check_model(config, pair)
        letters = method.partition('-')[2]
        assert set(model.distiller.terms) == {f'loss_wkd_{letter}' for letter in letters}


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: pair.path.stem)
def test_every_combination_builds(pair, configs_of):
    for config in configs_of(pair).values():
        check_model(config, pair)


@each_pair
def test_the_student_is_the_plain_one(pair, wkd_of):
    plain = {
        str(load_config(path).model.to_dict()) for path in PLAIN if data_of(pair) in path.parts
    }
    for config in wkd_of(pair).values():
        model = config.model.to_dict()
        own = {key: model[key] for key in model if key not in OWN}
        assert str(dict(own, type='Classifier')) in plain
        assert 'work_dir' not in config


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


def row_of(config):
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


def published(name, schedule, wkd_of):
    """The config of a row of the table."""
    method, _, names = name.partition('_')
    [pair] = [
        pair for pair in TAUGHT if (pair.name.partition('_')[2], pair.schedule) == (names, schedule)
    ]
    return wkd_of(pair)[method]


@pytest.mark.parametrize('name', TABLE)
def test_reference_settings_are_those_of_the_reference_code(name, wkd_of):
    config = published(name, 'reference', wkd_of)
    assert row_of(config) == TABLE[name]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.nesterov) == ('SGD', 0.9, True)
    for term in config.model.distill.values():
        assert term.loss.get('num_iters', 10) == 10
        assert term.loss.get('unbiased', True)


@pytest.mark.parametrize('name', TABLE)
def test_paper_settings_differ_where_the_paper_does(name, wkd_of):
    config = published(name, 'paper', wkd_of)
    expected = list(TABLE[name])
    expected[3] = None  # no decay
    imagenet = 'resnet34' in name or 'mobilenetv1' in name
    if imagenet and expected[7] is not None:
        expected[7] = 1
    if 'mobilenetv1' in name:
        expected[5] = None if expected[5] is None else 1
        expected[2] = None if expected[2] is None else 0.001
    assert row_of(config) == tuple(expected)
    assert not config.optim_wrapper.optimizer.nesterov
    for name, term in config.model.distill.items():
        if name == 'loss_wkd_l':
            assert term.loss.num_iters == 9
            assert term.loss.cost.path.startswith('data/interrelation/')
        else:
            assert term.loss.unbiased is False


@pytest.mark.parametrize('names', sorted(names_of('224')))
def test_settings_of_cnn_and_transformer(names, wkd_of):
    [pair] = [pair for pair in TAUGHT if pair.name == f'cifar100_{names}']
    transformer = names.partition('-to-')[2] in ('deit_tiny', 'swin_pico')
    expected = ('AdamW', 2.5e-4, 2e-3) if transformer else ('SGD', 2.5e-2, 2e-3)
    for config in wkd_of(pair).values():
        optimizer, epochs = config.optim_wrapper.optimizer, config.train_cfg.max_epochs
        assert (config.train_dataloader.batch_size, epochs) == (512, 300)
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == expected
        for name, term in config.model.distill.items():
            if name == 'loss_wkd_l':
                assert (term.loss.temperature, term.loss.sharpness) == (2, 1)
                assert 50 <= term.loss.transport_weight <= 200
            else:
                assert (term.loss.mean_cov_ratio, term.loss.grid) == (2, 1)
                assert 0.01 <= term.loss.loss_weight <= 0.08
                assert term.connector.to_dict() == dict(type='ConvConnector', norm_cfg=None)


def test_schedules_and_batches(wkd_of):
    distilled = [
        (pair.path.stem, data_of(pair), config)
        for pair in TAUGHT
        for config in wkd_of(pair).values()
    ]
    plain = [(path.stem, path.parts[-3], load_config(path)) for path in PLAIN]
    for name, data, config in [*distilled, *plain]:
        processes = 4 if data == 'imagenet' else 1
        batch = processes * config.train_dataloader.batch_size
        assert config.auto_scale_lr.base_batch_size == batch
        if data == 'imagenet':
            expected = (256, 100, [30, 60, 90])
        elif (
            data == 'cifar100' and not name.endswith(('_224', '_short')) and 'resnet18' not in name
        ):
            expected = (64, 240, [150, 180, 210])
        else:
            continue
        length = config.train_cfg.max_epochs
        assert (batch, length, config.param_scheduler.milestones) == expected


@each_pair
def test_teacher_is_a_config_and_where_its_training_ends(pair, wkd_of):
    for config in wkd_of(pair).values():
        teacher = config.model.teacher
        trained = load_config(ROOT / 'configs' / teacher.config.removeprefix('wkd_det::'))
        if teacher.checkpoint.startswith('work_dirs/'):
            length = trained.train_cfg
            last = (
                f'iter_{length.max_iters}'
                if 'max_iters' in length
                else f'epoch_{length.max_epochs}'
            )
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
    ('wkd-lf', 'digits_120i'),
    ('wkd-l', 'cifar100_resnet32x4-to-resnet8x4_reference'),
    ('wkd-f', 'cifar100_resnet32x4-to-shufflev2_reference'),
    ('wkd-lf', 'cifar100_wrn_40_2-to-shufflev1_paper'),
    ('wkd-f', 'cifar100_vit_small-to-resnet18_224'),
    ('wkd-f', 'cifar100_convnext_tiny-to-swin_pico_224'),
    ('wkd-lf', 'imagenet_resnet50-to-mobilenetv1_reference'),
    ('wkd-l', 'imagenet_resnet18-to-resnet18_born-again'),
]


@pytest.mark.parametrize(('method', 'name'), STEPS)
def test_one_step(method, name, images, wkd_of, tmp_path):
    [pair] = [pair for pair in TAUGHT if pair.path.stem == name]
    config = copy.deepcopy(wkd_of(pair)[method])
    torch.manual_seed(0)
    own = ROOT / 'configs' / config.model.teacher.config.removeprefix('wkd_det::')
    teacher = MODELS.build(load_config(own).model)
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    config.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    classes = CLASSES[data_of(pair)]
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
            'experiment_name': f'{method}_{name}',
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


@pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: pair.path.stem)
def test_terms_are_scheduled_in_the_steps_of_the_training(pair, configs_of):
    """A hook that counts epochs stops a training that has none."""
    for name, config in configs_of(pair).items():
        by_epoch = config.train_cfg.type == 'EpochBasedTrainLoop'
        for hook in config.get('custom_hooks', []):
            if hook.type == 'TermScheduleHook':
                assert hook.get('by_epoch', True) == by_epoch, name
                steps = config.train_cfg['max_epochs' if by_epoch else 'max_iters']
                assert hook.get('warm_up', 0) < steps / 2, name
