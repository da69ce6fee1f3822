"""The command that stores a teacher, and a training on what it has said."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from commands import run, sentence
from wkd_det.classification.stored import read_made_by, stored_path
from wkd_det.runtime.state import weights_hash
from wkd_det.testing import classifier_config, save_classifier

CLASSES = 4


@pytest.fixture
def config(tmp_path):
    """A distilled config, its images and its teacher in a folder."""
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    names = [f'class {label}' for label in range(CLASSES)]
    labels = np.arange(8) % CLASSES
    np.savez(tmp_path / 'images.npz', train_images=images, train_labels=labels, classes=names)
    plain = classifier_config('resnet8', CLASSES)
    teacher = save_classifier(plain, tmp_path / 'teacher.pth')
    term = dict(tap='logits', loss=dict(type='KDLoss'))
    content = dict(
        custom_imports=dict(imports=['wkd_det'], allow_failed_imports=False),
        default_scope='mmengine',
        model=dict(
            plain,
            type='DistilledClassifier',
            image_size=16,
            teacher=teacher,
            distill=dict(loss_kd=term),
        ),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='collate_images'),
            dataset=dict(
                type='ArraysDataset',
                path=str(tmp_path / 'images.npz'),
                split='train',
                batched=True,
                augmentations=2,
                stored_teacher=str(tmp_path / 'stored'),
                stored_maps=['layer3'],
                transforms=[dict(type='RandomCrop', size=16, padding=2)],
            ),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    )
    path = tmp_path / 'config.py'
    Config(content).dump(str(path))
    return path


def test_store_and_train(config, tmp_path):
    work = ['--work-dir', tmp_path / 'work']
    output = run('tools/train.py', config, *work, code=1)
    files = [
        stored_path(tmp_path / 'stored', module, number)
        for number in (0, 1)
        for module in ('', 'layer3')
    ]
    assert sentence(output).startswith(f'error: no stored teacher {files[0]} (from ')
    output = run('tools/store_teacher.py', config, '--half', '--batch-size', 3)
    lines = [line.partition(' s  ')[2] for line in output.strip().splitlines()[-4:]]
    shapes = ['4', '64 x 4 x 4'] * 2
    assert lines == [
        f'wrote {path}: 8 images, {shape} values each' for path, shape in zip(files, shapes)
    ]
    assert 'loss_kd' in run('tools/train.py', config, *work)
    output = run('tools/store_teacher.py', config, code=1)
    assert sentence(output) == (
        f"error: {files[0]} was stored for type 'float16', and not 'float32': --force replaces it"
    )
    output = run('tools/store_teacher.py', config, '--force')
    assert f'wrote {files[3]}' in output


def test_one_of_several_teachers_is_stored(config, tmp_path):
    content = Config.fromfile(str(config))
    model = content.model
    other = save_classifier(classifier_config('resnet14', CLASSES), tmp_path / 'other.pth')
    model.teachers = dict(small=model.pop('teacher'), deep=other)
    model.distill.loss_kd.teacher = 'small'
    model.distill.loss_deep = dict(model.distill.loss_kd, teacher='deep')
    content.dump(str(config))
    output = run('tools/store_teacher.py', config, code=1)
    assert sentence(output).startswith('error: there are the teachers deep, small: set stored_of ')
    run('tools/store_teacher.py', config, '--teacher', 'deep')
    first = stored_path(tmp_path / 'stored', '', 0)
    found = MODELS.build(other['config'])
    found.load_state_dict(torch.load(tmp_path / 'other.pth', weights_only=True)['state_dict'])
    assert read_made_by(first)['teacher'] == weights_hash(found)


def without_logits(config):
    config.train_dataloader.dataset.pop('stored_teacher')


def without_teacher(config):
    config.model = classifier_config('resnet8', CLASSES)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            without_logits,
            'train_dataloader.dataset of {} has no stored_teacher, the folder to write',
        ),
        (without_teacher, 'the model of {} is no DistilledClassifier'),
    ],
)
def test_what_a_config_lacks(config, change, message):
    content = Config.fromfile(str(config))
    change(content)
    content.dump(str(config))
    output = run('tools/store_teacher.py', config, code=1)
    assert sentence(output) == f'error: {message.format(config)}'
