"""Data on their way: images that do not decode, transforms, batches, normalisation, labels."""

import logging
import re

import numpy as np
import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from PIL import Image

from wkd_det.classification import data
from wkd_det.classification.data import (
    ImageDataset,
    ImagePreprocessor,
    build_transform,
    collate_images,
    renormalize,
)
from wkd_det.testing import classifier_config, image_batch


class Images(ImageDataset):
    """Grey images, of which those with a negative value do not decode."""

    def __init__(self, values, **options):
        super().__init__(['ant', 'bee'], **options)
        self.values = values

    def read(self, index):
        if self.values[index] < 0:
            raise OSError('truncated')
        pixels = np.full((5, 6, 3), self.values[index], dtype=np.uint8)
        return Image.fromarray(pixels), index % 2

    def labels(self):
        return [index % 2 for index in range(len(self.values))]


# Data sets


def test_a_data_set_gives_bytes_labels_and_names():
    dataset = Images([7, 8, 9], transforms=[dict(type='CenterCrop', size=4)])
    assert dataset.metainfo == dict(classes=('ant', 'bee'))
    assert len(dataset) == 3
    image, label = dataset[1]
    assert (image.dtype, image.shape, label) == (torch.uint8, (3, 4, 4), 1)
    assert (image == 8).all()


# Transforms


def test_transforms_are_those_of_torchvision():
    torch.manual_seed(0)
    transform = build_transform(
        [
            dict(type='Resize', size=12, interpolation='bicubic'),
            dict(type='CenterCrop', size=8),
        ]
    )
    image = Image.fromarray(np.arange(300, dtype=np.uint64).astype(np.uint8).reshape(10, 10, 3))
    expected = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(
                12, interpolation=torchvision.transforms.InterpolationMode.BICUBIC
            ),
            torchvision.transforms.CenterCrop(8),
            torchvision.transforms.PILToTensor(),
        ]
    )(image)
    assert torch.equal(transform(image), expected)


# Batches


def test_a_batch_leaves_out_what_is_skipped(monkeypatch):
    said = []
    monkeypatch.setattr(data, 'print_log', lambda text, **options: said.append((text, options)))
    dataset = Images([7, -1, 9], on_bad_image='skip')
    assert dataset[1] is None
    text = 'skipped, image 1 does not decode: truncated'
    assert said == [(text, dict(logger='current', level=logging.WARNING))]
    images, labels = collate_images([dataset[index] for index in range(3)])
    assert images.shape == (2, 3, 5, 6)
    assert images[:, 0, 0, 0].tolist() == [7, 9]
    assert labels.tolist() == [0, 0]


def test_images_are_normalised_in_units_of_the_pixels():
    section = dict(type='ImagePreprocessor', mean=[0, 51, 102], std=[255, 51, 1])
    model = MODELS.build(classifier_config(data_preprocessor=section))
    images = torch.full((1, 3, 2, 2), 102, dtype=torch.uint8)
    normalised, _ = model.data_preprocessor([images, torch.tensor([3])])
    assert torch.allclose(normalised[0, :, 0, 0], torch.tensor([0.4, 1.0, 0.0]))
    assert not any('preprocessor' in key for key in model.state_dict())


def test_renormalised_is_what_the_other_preprocessor_gives():
    student = ImagePreprocessor(mean=[10, 20, 30], std=[50, 60, 70])
    teacher = ImagePreprocessor(mean=[120, 110, 100], std=[40, 55, 25])
    batch = image_batch()
    own, _ = student(batch)
    expected, _ = teacher(batch)
    # Float32 rounding of the way back and forth, of values up to 255.
    assert torch.allclose(renormalize(own, student, teacher), expected, atol=1e-5)
    assert renormalize(own, student, ImagePreprocessor(mean=[10, 20, 30], std=[50, 60, 70])) is own


# Errors


def test_an_image_that_does_not_decode_is_named():
    message = "image 1 does not decode: truncated; on_bad_image='skip' leaves such images out"
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        Images([7, -1, 9])[1]


def test_a_batch_of_which_nothing_is_left():
    with pytest.raises(ValueError, match='^none of the 2 images of a batch decodes$'):
        collate_images([None, None])


def test_unknown_treatment_of_bad_images():
    message = "on_bad_image must be one of ('raise', 'skip'), got 'warn'"
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        Images([7], on_bad_image='warn')


@pytest.mark.parametrize(
    ('options', 'values'),
    [
        (dict(std=[1, 0, 1]), 'mean=(0.0, 0.0, 0.0), std=[1, 0, 1]'),
        (dict(mean=[1]), 'mean=[1], std=(255.0, 255.0, 255.0)'),
    ],
)
def test_mean_and_std_that_do_not_fit(options, values):
    message = f'mean and std need one value per channel, std positive, got {values}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImagePreprocessor(**options)


@pytest.mark.parametrize('label', [-1, 10])
def test_label_outside_the_classes(label):
    model = MODELS.build(classifier_config())
    images, labels = image_batch()
    labels[2] = label
    message = (
        f'labels must lie in [0, 10), the classes of the network, got {label} (image 2 of the '
        'batch)'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        model.val_step([images, labels])


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        (dict(type='RandomCorp', size=3), KeyError, r"transforms\[0\].type.*'RandomCrop'"),
        (dict(type='RandomCrop', sizes=3), KeyError, "unknown keys .'sizes'.*padding"),
        (
            dict(type='RandomCrop'),
            TypeError,
            r"^transforms\[0\] of type 'RandomCrop': missing a required argument: 'size'$",
        ),
        (
            'RandomCrop',
            TypeError,
            r"^transforms\[0\] must be a dict with a type, got 'RandomCrop'$",
        ),
        (
            dict(type='Resize', size=8, interpolation='bicubik'),
            ValueError,
            "^'bicubik' is not a valid InterpolationMode$",
        ),
    ],
)
def test_wrong_transforms(config, error, message):
    with pytest.raises(error, match=message):
        build_transform([config])
