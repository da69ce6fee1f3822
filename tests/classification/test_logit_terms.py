"""Losses of logits as terms of a classifier: two steps each, with labels of all kinds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from wkd_det import registry
from wkd_det.classification.targets import Targets
from wkd_det.testing import (
    classifier_config,
    distilled_from,
    image_batch,
    save_classifier,
    tiny_faster_rcnn,
)

COST = dict(type='ConstantCost')
PAIRS = {
    'NKD': dict(type='NKDLoss'),
    'WSLD': dict(type='WSLDLoss'),
    'DIST': dict(type='DISTLoss'),
    'TTM': dict(type='TTMLoss'),
    'WTTM': dict(type='WTTMLoss'),
    'OFA': dict(type='OFALoss', eps=1.5),
    'CTKD': dict(type='CTKDLoss'),
    'CTKD on DKD': dict(type='CTKDLoss', loss=dict(type='DKDLoss')),
    'Tf-KD self': dict(type='TfKDSelfLoss'),
    'LSKD': dict(type='KDLoss', temperature=2.0, standardize=True),
    'LSKD on WKD-L': dict(type='WKDLogitLoss', cost=COST, standardize=True),
}
ALONE = {
    'Tf-KD': ('logits', dict(type='TfKDLoss')),
    'label smoothing': ('logits', dict(type='LabelSmoothingLoss')),
    'Zipf': ('layer3', dict(type='ZipfLoss', upsample=2)),
    'Zipf by logits': ('layer3', dict(type='ZipfLoss', own_logits=True, mask=True)),
    'USKD': ('layer2', dict(type='USKDLoss')),
}


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teacher')
    return save_classifier(classifier_config('resnet14'), folder / 'teacher.pth')


def build(loss, teacher=None, tap='logits', **changes):
    torch.manual_seed(0)
    distill = dict(loss_x=dict(tap=tap, loss=loss))
    changes = dict(changes, teacher=teacher, distill=distill, type='DistilledClassifier')
    model = registry.build(copy.deepcopy(dict(classifier_config(), image_size=32, **changes)))
    model.init_weights()
    return model.train()


def mixed(labels):
    """Soft labels, as mixup makes them."""
    one_hot = torch.nn.functional.one_hot(labels, 10).float()
    return 0.7 * one_hot + 0.3 * one_hot.flip(0)


def partly_missing(labels):
    """The first image has none."""
    labelled = torch.arange(len(labels)) > 0
    return Targets(labels.where(labelled, -1), labelled=labelled)


KINDS = dict(hard=lambda labels: labels, soft=mixed, missing=partly_missing)


def train(model, kind='hard', strong=False, dtype=None):
    """Losses of two steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = model.data_preprocessor(image_batch(), True)
    targets = Targets(labels, strong=images.flip(3)) if strong else KINDS[kind](labels)
    values = []
    for _ in range(2):
        with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            losses = model.loss(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        values.append(losses['loss_x'].item())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    return values


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', PAIRS)
def test_pairs(name, kind, teacher):
    model = build(PAIRS[name], teacher)
    first, second = train(model, kind)
    assert first > 0
    assert second != first


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', ALONE)
def test_without_a_teacher(name, kind):
    tap, loss = ALONE[name]
    first, second = train(build(loss, tap=tap, ce_weight=0.9), kind)
    assert first >= 0
    assert second != first or first == 0  # of no image that the student gets right


MIXED = {
    **PAIRS,
    'KD': dict(type='KDLoss', temperature=4.0),
    'DKD': dict(type='DKDLoss', beta=8.0, temperature=4.0),
    'WKD-L': dict(type='WKDLogitLoss', cost=COST),
    **ALONE,
}


@pytest.mark.parametrize('name', MIXED)
def test_images_mixed_by_timm(name, teacher):
    loss, tap = MIXED[name], 'logits'
    if name in ALONE:
        tap, loss = loss
    mixing = dict(mixup_alpha=0.8, cutmix_alpha=1.0)
    model = build(
        loss,
        None if name in ALONE else teacher,
        tap=tap,
        data_preprocessor=dict(type='ImagePreprocessor', num_classes=10, mixup=mixing),
    )
    np.random.seed(0)
    images, targets = model.data_preprocessor(image_batch(), True)
    assert targets.shape == (4, 10)
    losses = model.loss(images, targets)
    sum(losses.values()).backward()
    # Zipf's labels by logits are for images that the student gets right: here it gets none.
    assert (losses['loss_x'] > 0) == (name != 'Zipf by logits')
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize('name', ['NKD', 'CTKD on DKD', 'LSKD on WKD-L', *ALONE])
def test_half_precision(name, teacher):
    if name in PAIRS:
        model = build(PAIRS[name], teacher)
    else:
        tap, loss = ALONE[name]
        model = build(loss, tap=tap)
    assert all(value >= 0 for value in train(model, dtype=torch.bfloat16))


def test_two_views(teacher):
    model = build(dict(type='MLKDLoss', loss_weight=0.9), teacher, ce_weight=0.1)
    first, second = train(model, strong=True)
    assert first > 0
    assert second != first


def test_what_is_trained_is_in_the_checkpoint_and_not_in_the_student(teacher):
    for model, names in (
        (build(PAIRS['CTKD'], teacher), {'theta'}),
        (build(ALONE['USKD'][1], tap='layer2'), {'fc.weight', 'fc.bias'}),
    ):
        before = {name: value.clone() for name, value in model.named_parameters()}
        train(model)
        prefix = 'distiller.terms.loss_x.loss.'
        own = {name for name in before if name.startswith(prefix)}
        assert {name.removeprefix(prefix) for name in own} == names
        after = dict(model.named_parameters())
        assert all(not torch.equal(before[name], after[name]) for name in own)
        assert own <= set(model.state_dict())
        assert not any(name.startswith('distiller') for name in model.network.state_dict())


def test_the_reversal_is_scheduled(teacher):
    """At 0 the temperature stays; that of DKD and its own parts have their names."""
    model = build(PAIRS['CTKD'], teacher)
    term = model.distiller.terms['loss_x']
    assert term.full_weights == dict(reversal=1.0)
    term.set_scale(0.0, 'reversal')
    train(model)
    assert term.loss.theta == 1
    term.set_scale(0.5, 'reversal')
    assert term.loss.reversal == 0.5


def test_a_detector_is_not_distilled_without_a_teacher(teacher_section):
    term = dict(tap='neck', levels=[0], loss=dict(type='USKDLoss'))
    config = distilled_from(tiny_faster_rcnn(), teacher_section, dict(loss_x=term))
    message = "distill.loss_x: USKDLoss compares with no teacher, and the tap 'neck' reads one"
    with pytest.raises(ValueError, match=f'^{message}$'):
        registry.build(copy.deepcopy(config))


@pytest.mark.parametrize(
    ('tap', 'loss', 'message'),
    [
        (
            'logits',
            dict(type='MLKDLoss'),
            'distill.loss_x: MLKDLoss: a second view of the images is needed, and the batch has '
            'only one view: set strong_transforms in the training data set',
        ),
        (
            'pool',
            dict(type='CRDLoss', num_samples=8, negatives=2),
            'distill.loss_x: CRDLoss: the indices of the samples are needed, and the batch carries '
            'none: set with_index=True in the training data set',
        ),
    ],
)
def test_what_a_batch_lacks_is_said_with_the_method(tap, loss, message, teacher):
    model = build(loss, teacher, tap=tap)
    if loss['type'] == 'CRDLoss':
        model.distiller.set_samples(torch.arange(8) % 4)
    with pytest.raises(ValueError, match=f'^{message}$'):
        train(model)


def test_a_module_that_is_not_there_is_said_with_the_term(teacher):
    message = 'distill.loss_x: the student CifarResNet has no such module: got .layer9.; near'
    distill = dict(tap='stages', modules=['layer1', 'layer9'], loss=dict(type='ATLoss'))
    with pytest.raises(KeyError, match=message):
        registry.build(
            dict(
                classifier_config(),
                type='DistilledClassifier',
                image_size=32,
                teacher=teacher,
                distill=dict(loss_x=distill),
            )
        )
