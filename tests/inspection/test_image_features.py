"""Class features of classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn
from torch.testing import assert_close

from wkd_det.classification.classifier import Classifier
from wkd_det.costs.build import BuildOptions, build_interrelation
from wkd_det.inspection.image_features import ImageFeatureSource, open_image_features
from wkd_det.testing import classifier_config, save_classifier

NAMES = [str(digit) for digit in range(10)]
# The same rows in a batch of another size: convolutions in float32 may sum in another order.
FLOAT32 = dict(rtol=1e-4, atol=1e-5)


def config_of(per_class=8, **model):
    images = dict(type='DigitsDataset', noise=0.25)
    augmented = dict(images, split='train', per_class=per_class)
    augmented['transforms'] = [dict(type='RandomCrop', size=32, padding=8)]
    return Config(
        dict(
            model=classifier_config(**model),
            train_dataloader=dict(dataset=augmented),
            test_dataloader=dict(dataset=dict(images, split='test')),
        )
    )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('classifier') / 'network.pth'
    save_classifier(classifier_config(), path, bare=True)
    return str(path)


def test_features_feed_the_last_layer(checkpoint):
    source = open_image_features(config_of(), checkpoint)
    logits = open_image_features(config_of(), checkpoint, layer='logits')
    network = source.classifier.network
    assert len(source) == 2  # 80 images, 64 at once
    assert source.class_names == NAMES
    keys, labels = [], []
    for one, two in zip(source.examples(range(2)), logits.examples(range(2))):
        assert_close(network.fc(one.features), two.features, **FLOAT32)
        keys += one.keys.tolist()
        labels += one.labels.tolist()
    assert keys == list(range(80))
    assert labels == [digit for digit in range(10) for _ in range(8)]
    # Read as the test data are: no crop, so the same every time.
    images = torch.stack([source.dataset[index][0] for index in (0, 79)])
    assert torch.equal(images[0], source.dataset[0][0])
    normalised, _ = source.classifier.data_preprocessor([images, torch.zeros(2).long()])
    assert_close(network(normalised)[1], two.features[-1], **FLOAT32)
    assert torch.equal(source.classifier_rows(), network.fc.weight)


def test_one_view_of_the_images_that_have_a_label(checkpoint, tmp_path):
    images = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    labels = np.array([3, -1, 5, 3])
    np.savez(tmp_path / 'images.npz', train_images=images, train_labels=labels, classes=NAMES)
    config = config_of(data_preprocessor=dict(type='ImagePreprocessor', allow_unlabelled=True))
    config.train_dataloader.dataset = dict(
        type='ArraysDataset',
        path=str(tmp_path / 'images.npz'),
        split='train',
        allow_unlabelled=True,
        with_index=True,
        strong_transforms=[dict(type='RandAugment')],
    )
    source = open_image_features(config, checkpoint)
    assert source.dataset[0].strong is None
    (examples,) = source.examples(range(1))
    assert examples.keys.tolist() == [0, 2, 3]
    assert examples.labels.tolist() == [3, 5, 3]


def test_distances_and_where_they_come_from(checkpoint):
    source = open_image_features(config_of(), checkpoint, name='digits.py')
    distance, metadata = build_interrelation(source, BuildOptions('cka-linear'))
    assert distance.shape == (10, 10)
    assert metadata['background'] is False
    assert metadata['examples_per_class'] == 8
    assert metadata['counts'] == dict.fromkeys(NAMES, 8)
    assert (metadata['config'], metadata['images']) == ('digits.py', 80)
    assert len(metadata['weights_sha256']) == 64


class ConvolutionLast(nn.Module):
    """Classifies each pixel and averages, as SqueezeNet does."""

    num_classes = 10

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 8, 8)
        self.top = nn.Conv2d(5, 10, 1)

    def forward(self, images):
        return self.top(self.stem(images).relu()).mean((2, 3))


def test_maps_before_a_last_convolution_are_averaged():
    MODELS.register_module(module=ConvolutionLast, force=True)
    model = Classifier(dict(type='ConvolutionLast')).eval()
    images = torch.randint(0, 256, (70, 3, 32, 32), dtype=torch.uint8)
    source = ImageFeatureSource(model, [(image, 3) for image in images], NAMES)
    first, second = source.examples(range(2))
    assert (first.features.shape, second.features.shape) == ((64, 5), (6, 5))
    expected = model.network.stem(images[:64] / 255).relu().mean((2, 3))
    assert_close(first.features, expected, **FLOAT32)


def test_images_that_are_left_out():
    model = MODELS.build(classifier_config()).eval()
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    source = ImageFeatureSource(model, [(image, 1), None, (image, 2)], NAMES)
    (examples,) = source.examples([0])
    assert examples.keys.tolist() == [0, 2]
    assert examples.labels.tolist() == [1, 2]
    (nothing,) = ImageFeatureSource(model, [None], NAMES).examples([0])
    assert len(nothing.labels) == len(nothing.features) == 0


def test_wrong_options(checkpoint):
    with pytest.raises(ValueError, match=r"layer must be one of .* for a classifier, got 'roi_"):
        open_image_features(config_of(), checkpoint, layer='roi_feats')
    with pytest.raises(ValueError, match=r"split must be one of \['train', 'test'\].* got 'val'"):
        open_image_features(config_of(), checkpoint, split='val')
    config = config_of()
    config.test_dataloader = None
    with pytest.raises(ValueError, match='no test_dataloader or val_dataloader to read images by'):
        open_image_features(config, checkpoint)
    config = config_of()
    config.model = ConfigDict(classifier_config(num_classes=7))
    with pytest.raises(ValueError, match='does not fit'):
        open_image_features(config, checkpoint)
    model = MODELS.build(classifier_config(num_classes=7))
    with pytest.raises(ValueError, match='the classifier has 7 classes and the data 10'):
        ImageFeatureSource(model, [], NAMES)
