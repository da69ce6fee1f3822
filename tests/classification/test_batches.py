"""Batches with more than labels, from the arrays through loader and preprocessor to the terms."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from wkd_det.functional import dkd_loss, kd_loss
from wkd_det.testing import class_logits_term, classifier_config, image_batch, save_classifier

KD = dict(tap='logits', loss=dict(type='KDLoss', temperature=4.0))
DKD = dict(tap='logits', loss=dict(type='DKDLoss'))
NAMES = [f'class {index}' for index in range(10)]


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teacher')
    return save_classifier(classifier_config('resnet14'), folder / 'teacher.pth')


@pytest.fixture(scope='module')
def arrays(tmp_path_factory):
    """Twelve images; the last two have no label."""
    images, labels = image_batch(12)
    labels[:2] = torch.tensor([3, 7])
    labels[-2:] = -1
    path = tmp_path_factory.mktemp('arrays') / 'images.npz'
    arrays = dict(images=images.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    np.savez(path, **{f'train_{name}': value for name, value in arrays.items()}, classes=NAMES)
    return str(path)


def section(teacher, distill, **preprocessor):
    model = dict(
        type='DistilledClassifier',
        data_preprocessor=dict(type='ImagePreprocessor', **preprocessor),
        teacher=teacher,
        distill=distill,
        image_size=32,
    )
    return classifier_config(**model)


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.eval()


def loader(arrays, **options):
    dataset = dict(type='ArraysDataset', path=arrays, split='train', allow_unlabelled=True)
    return dict(
        batch_size=6,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='collate_images'),
        dataset=dict(dataset, **options),
    )


# Mixed images and soft labels


def test_terms_compare_the_networks_on_mixed_images(teacher):
    terms = dict(loss_kd=KD, loss_dkd=DKD, loss_wkd_l=class_logits_term())
    model = build(section(teacher, terms, mixup=dict(mixup_alpha=1.0)))
    np.random.seed(0)
    images, soft = model.data_preprocessor(image_batch(), True)
    assert ((soft > 0).sum(dim=1) == 2).any()
    losses = model.loss(images, soft)
    logits, others = model(images), model.distiller.teacher.module(images)
    assert torch.allclose(losses['loss_kd'], kd_loss(logits, others, temperature=4.0))
    # the likelier class stands for a mixture
    assert torch.allclose(losses['loss_dkd'], dkd_loss(logits, others, soft.argmax(dim=1)))
    assert torch.allclose(losses['loss_ce'], F.cross_entropy(logits, soft))
    hard = model.loss(images, soft.argmax(dim=1))
    assert torch.equal(losses['loss_wkd_l'], hard['loss_wkd_l'])
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.network.parameters())


def test_a_resumed_run_mixes_as_an_uninterrupted_one(teacher, arrays, tmp_path):
    stored = np.load(arrays)
    path = str(tmp_path / 'labelled.npz')
    np.savez(path, **{name: stored[name][:-2] for name in ('train_images', 'train_labels')})
    data = loader(path, classes=NAMES, allow_unlabelled=False)
    config = dict(
        model=section(teacher, dict(loss_kd=KD), mixup=dict(mixup_alpha=1.0, cutmix_alpha=1.0)),
        train_dataloader=data,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook', interval=1)),
        default_scope='mmengine',
        randomness=dict(seed=0),
    )

    def train(name, **options):
        changed = dict(config, work_dir=str(tmp_path / name), experiment_name=name, **options)
        runner = Runner.from_cfg(copy.deepcopy(changed))
        runner.train()
        return runner.model.state_dict()

    whole = train('whole')
    resumed = train('resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    assert all(torch.equal(value, whole[key]) for key, value in resumed.items())


# Indices, two views, missing labels


def test_all_parts_of_a_batch_reach_the_losses(teacher, arrays):
    mlkd = dict(tap='logits', loss=dict(type='MLKDLoss', loss_weight=0.9))
    config = section(teacher, dict(loss_mlkd=mlkd, loss_dkd=DKD), allow_unlabelled=True)
    model = build(dict(config, ce_weight=0.1))
    views = [dict(type='RandAugment', num_ops=2, magnitude=10)]
    data = Runner.build_dataloader(loader(arrays, with_index=True, strong_transforms=views), seed=0)
    images, labels = data.dataset._images, torch.tensor(data.dataset.labels())
    seen = []
    for batch in data:
        inputs, targets = model.data_preprocessor(batch, True)
        seen += targets.indices.tolist()
        assert torch.equal(targets.labels, labels[targets.indices])
        assert torch.equal(targets.labelled, targets.labels >= 0)
        own = torch.from_numpy(images[targets.indices.numpy()]).permute(0, 3, 1, 2)
        assert torch.equal(inputs, own.float() / 255)
        losses = model.loss(inputs, targets)
        each = [
            F.cross_entropy(model(view)[targets.labelled], targets.labels[targets.labelled])
            for view in (inputs, targets.strong)
        ]
        assert torch.allclose(losses['loss_ce'], 0.1 * sum(each))
        assert losses['loss_mlkd'].isfinite()
        assert losses['loss_mlkd'] > 0
        assert losses['loss_dkd'] > 0  # of the labelled ones
    assert sorted(seen) == list(range(12))
    log = model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    assert log['loss'].isfinite()


def test_the_cross_entropy_may_weigh_nothing(teacher):
    model = build(dict(section(teacher, dict(loss_kd=KD)), ce_weight=0))
    images, labels = model.data_preprocessor(image_batch(), True)
    total, log = model.parse_losses(model.loss(images, labels))
    assert log['loss_ce'] == 0
    assert total == log['loss_kd'] > 0
