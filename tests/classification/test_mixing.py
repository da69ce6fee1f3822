"""Mixup and CutMix: images and labels as timm mixes them, batches of odd numbers, errors."""

import re
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy

from wkd_det.classification.data import ImagePreprocessor
from wkd_det.classification.mixing import BatchMixing
from wkd_det.testing import image_batch

MODES = [
    dict(mixup_alpha=0.8),
    dict(cutmix_alpha=1.0),
    dict(mixup_alpha=0.8, cutmix_alpha=1.0, mode='elem'),
    dict(mixup_alpha=0.8, cutmix_alpha=1.0, mode='pair'),
]


def floats(count=4):
    images, labels = image_batch(count)
    return images.float(), labels


@pytest.mark.parametrize('options', MODES, ids=['mixup', 'cutmix', 'elem', 'pair'])
def test_images_and_smoothed_labels_are_those_of_timm(options):
    images, labels = floats()
    np.random.seed(0)
    expected, smoothed = Mixup(**options, num_classes=10, label_smoothing=0.1)(
        images.clone(), labels
    )
    np.random.seed(0)
    mixed, soft = BatchMixing(options)(images.clone(), labels, 10)
    assert torch.equal(mixed, expected)
    assert not torch.equal(mixed, images)
    assert soft.dtype == torch.float32
    assert torch.allclose(soft.sum(dim=1), torch.ones(4))
    assert torch.allclose(0.9 * soft + 0.01, smoothed)  # float32 rounding
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    ours = F.cross_entropy(logits, soft, label_smoothing=0.1)
    assert torch.allclose(ours, SoftTargetCrossEntropy()(logits, smoothed))


def test_never_mixed_is_one_hot():
    images, labels = floats()
    mixed, soft = BatchMixing(dict(prob=0.0))(images.clone(), labels, 10)
    assert torch.equal(mixed, images)
    assert torch.equal(soft, F.one_hot(labels, 10).float())


@pytest.mark.parametrize('options', MODES, ids=['mixup', 'cutmix', 'elem', 'pair'])
def test_the_last_of_an_odd_number_of_images_stays(options):
    for count in (5, 1):
        images, labels = floats(count)
        mixed, soft = BatchMixing(options)(images.clone(), labels, 10)
        assert torch.equal(mixed[-1], images[-1])
        assert torch.equal(soft[-1], F.one_hot(labels[-1], 10).float())


# In the preprocessor


def test_mixed_in_training_only():
    preprocessor = ImagePreprocessor(num_classes=10, mixup=dict(mixup_alpha=1.0))
    images, labels = image_batch()
    before = images.clone()
    inputs, soft = preprocessor([images, labels], True)
    assert soft.shape == (4, 10)
    assert torch.equal(images, before)
    plain, hard = preprocessor([images, labels], False)
    assert torch.equal(hard, labels)
    assert not torch.equal(inputs, plain)
    assert torch.allclose(inputs + inputs.flip(0), plain + plain.flip(0), atol=1e-5)


@pytest.mark.parametrize(
    ('more', 'num_classes', 'message'),
    [
        (
            dict(indices=torch.arange(4)),
            10,
            'mixup makes images that are no samples of the data set: set with_index=False',
        ),
        (
            dict(strong=image_batch()[0]),
            10,
            'mixup mixes one view: take the strong_transforms out of the data set',
        ),
        (
            dict(labels=torch.full((4, 10), 0.1)),
            10,
            'mixup mixes classes, but the labels of the batch are soft already',
        ),
        (dict(), None, 'mixup needs the number of classes: set num_classes of the network'),
    ],
)
def test_batches_that_are_not_mixed(more, num_classes, message):
    preprocessor = ImagePreprocessor(num_classes=num_classes, mixup=dict(mixup_alpha=1.0))
    images, labels = image_batch()
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        preprocessor(dict(dict(images=images, labels=labels), **more), True)


# Errors


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(alpha=1.0), KeyError, r"mixup has unknown keys \['alpha'\]; valid keys are .*mode"),
        (dict(num_classes=10), KeyError, r"mixup has unknown keys \['num_classes'\]"),
        (
            dict(label_smoothing=0.1),
            KeyError,
            'mixup takes no label_smoothing: set that of the classifier',
        ),
        (
            dict(mixup_alpha=0.0),
            ValueError,
            r'^mixup needs mixup_alpha > 0, cutmix_alpha > 0 or cutmix_minmax, got '
            r"\{'mixup_alpha': 0.0\}$",
        ),
        (True, TypeError, r'^mixup must be a dict, e\.g\. dict\(mixup_alpha=0\.8\), got True$'),
        (dict(mixup_alpha='a'), ValueError, "^mixup.mixup_alpha must be a number, got 'a'$"),
        (dict(cutmix_alpha=-1), ValueError, '^mixup.cutmix_alpha must not be negative, got -1$'),
        (dict(prob=2), ValueError, r'^mixup.prob must lie in \[0, 1\], got 2$'),
        (dict(switch_prob='a'), ValueError, r"^mixup.switch_prob must lie in \[0, 1\], got 'a'$"),
        (dict(correct_lam='no'), ValueError, "^mixup.correct_lam must be True or False, got 'no'$"),
        (
            dict(cutmix_minmax=0.5),
            ValueError,
            r'^mixup.cutmix_minmax must be two numbers in \[0, 1\], got 0\.5$',
        ),
        (dict(mode='batches'), ValueError, "^mixup.mode must be 'batch', 'pair' or 'elem', got"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        ImagePreprocessor(mixup=options)


def test_images_without_labels_are_not_mixed():
    message = '^mixup mixes labels: it does not go with allow_unlabelled=True$'
    with pytest.raises(ValueError, match=message):
        ImagePreprocessor(mixup=dict(mixup_alpha=1.0), allow_unlabelled=True)


def test_timm_is_needed_for_mixup_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm.data', None)
    ImagePreprocessor()
    with pytest.raises(ImportError, match='^mixup needs timm: pip install timm$'):
        ImagePreprocessor(mixup=dict(mixup_alpha=1.0))
