"""Data on their way: images that do not decode, transforms, batches, normalisation, labels."""

import logging
import re

import numpy as np
import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from PIL import Image

from precision import UINT16, needs_uint16
from wkd_det.classification import data
from wkd_det.classification.data import (
    ImageDataset,
    ImagePreprocessor,
    build_transform,
    collate_images,
)
from wkd_det.classification.teacher_images import TeacherImages
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


def test_an_index_and_a_second_view_of_the_same_draw():
    options = dict(transforms=[dict(type='RandomCrop', size=4)])
    weak, label = Images([7, 8, 9], **options)[1]
    sample = Images([7, 8, 9], with_index=True, **options)[1]
    assert torch.equal(sample.image, weak)
    assert (sample.label, sample.index, sample.strong) == (label, 1, None)
    noise = [dict(type='RandomInvert', p=1.0)]
    torch.manual_seed(0)
    both = Shades(strong_transforms=noise, **options)[0]
    assert both.index is None
    assert torch.equal(both.strong, 255 - both.image)  # the same crop
    torch.manual_seed(0)
    assert torch.equal(Shades(**options)[0][0], both.image)
    randomly = [dict(type='RandAugment', num_ops=2, magnitude=10)]
    torch.manual_seed(0)
    views = Shades(strong_transforms=randomly, **options)[0]
    assert torch.equal(views.image, both.image)
    assert views.strong.shape == views.image.shape
    assert not torch.equal(views.strong, views.image)


class Shades(Images):
    """One image with another value in each pixel."""

    def __init__(self, **options):
        super().__init__([0], **options)

    def read(self, index):
        pixels = np.arange(8 * 8 * 3, dtype=np.uint64).astype(np.uint8).reshape(8, 8, 3)
        return Image.fromarray(pixels), 0


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


def test_a_batch_with_indices_and_second_views():
    options = dict(with_index=True, on_bad_image='skip')
    dataset = Images([7, -1, 9, 5], **options)
    batch = collate_images([dataset[index] for index in range(4)])
    assert batch.keys() == {'images', 'labels', 'indices'}
    assert batch['indices'].tolist() == [0, 2, 3]
    assert batch['labels'].tolist() == [0, 0, 1]
    dataset = Images([7, 3], strong_transforms=[dict(type='RandomInvert', p=1.0)], **options)
    batch = collate_images([dataset[index] for index in range(2)])
    assert batch.keys() == {'images', 'labels', 'indices', 'strong'}
    assert batch['strong'][:, 0, 0, 0].tolist() == [248, 252]
    preprocessor = ImagePreprocessor(mean=[1.0], std=[2.0], num_classes=2)
    for training in (True, False):
        inputs, targets = preprocessor(batch, training)
        assert torch.equal(inputs, (batch['images'].float() - 1) / 2)
        assert torch.equal(targets.strong, (batch['strong'].float() - 1) / 2)
        assert torch.equal(targets.labels, batch['labels'])
        assert torch.equal(targets.indices, batch['indices'])
        assert targets.labelled is None
    _, labels = preprocessor(dict(images=batch['images'], labels=batch['labels']))
    assert torch.equal(labels, batch['labels'])


def test_labels_may_be_missing_where_that_is_allowed():
    images, labels = image_batch()
    labels[1] = -1
    preprocessor = ImagePreprocessor(num_classes=10, allow_unlabelled=True)
    for training in (True, False):
        _, targets = preprocessor([images, labels], training)
        assert targets.labelled.tolist() == [True, False, True, True]
        assert torch.equal(targets.labels, labels)
    for label in (-2, 10):
        labels[1] = label
        message = rf'^labels must lie in \[0, 10\), .*, got {label} \(image 1 of the batch\)$'
        with pytest.raises(ValueError, match=message):
            preprocessor([images, labels])


def test_soft_labels_are_for_training():
    images, labels = image_batch()
    soft = torch.nn.functional.one_hot(labels, 10).double()
    preprocessor = ImagePreprocessor(num_classes=10)
    assert torch.equal(preprocessor([images, soft], True)[1], soft)
    message = '^soft labels are for training: accuracy needs one class per image$'
    with pytest.raises(ValueError, match=message):
        preprocessor([images, soft], False)
    with pytest.raises(ValueError, match=r'sum to 1 for each image, got .* 2 \(image 0 of'):
        preprocessor([images, 2 * soft], True)
    with pytest.raises(ValueError, match=r'shape \(N, 10\), .*, got \(4, 9\)$'):
        preprocessor([images, soft[:, 1:]], True)


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
    assert torch.allclose(TeacherImages(student, teacher)(own), expected, atol=1e-5)
    same = ImagePreprocessor(mean=[10, 20, 30], std=[50, 60, 70])
    assert TeacherImages(student, same)(own) is own


@needs_uint16
def test_any_number_of_channels_and_any_type_of_pixels():
    for channels in (1, 2, 5):
        images = torch.full((2, channels, 4, 4), 40_000).to(UINT16)
        mean = [float(index) for index in range(channels)]
        each = ImagePreprocessor(mean=mean, std=[2.0] * channels)
        shared = ImagePreprocessor(mean=[1.0], std=[2.0])
        labels = torch.zeros(2, dtype=torch.int64)
        (own, _), (other, _) = each([images, labels]), shared([images, labels])
        assert own[1, :, 0, 0].tolist() == [(40_000 - value) / 2 for value in mean]
        assert other[1, :, 0, 0].tolist() == [(40_000 - 1) / 2] * channels
        assert torch.equal(TeacherImages(each, shared)(own), other)


def test_a_colour_teacher_sees_a_grey_image_three_times():
    images = image_batch()[0][:, :1]
    batch = [images, torch.zeros(4, dtype=torch.int64)]
    own, _ = ImagePreprocessor(mean=[10], std=[50])(batch)
    colours = [images.expand(-1, 3, -1, -1), batch[1]]
    for options in (dict(mean=[10], std=[50]), dict(mean=[7], std=[3]), dict(mean=[1, 2, 3])):
        teacher = ImagePreprocessor(**dict(dict(std=[40, 55, 25]), **options))
        expected, _ = teacher(colours)
        student = ImagePreprocessor(mean=[10], std=[50])
        found = TeacherImages(student, teacher, repeats=True)(own)
        assert found.shape == (4, 3, 32, 32)
        assert torch.allclose(found, expected, atol=1e-4)


# Pixels that were normalised before


def normalised_by(images, mean, std):
    """What a data set gives that normalises, and a preprocessor that leaves it as it is."""
    tensors = [torch.tensor(values).view(-1, 1, 1) for values in (mean, std)]
    return (images.float() - tensors[0]) / tensors[1]


@pytest.mark.parametrize(
    ('mean', 'std', 'own', 'found'),
    [
        ([123.0, 116.0, 103.0], [58.0, 57.0, 57.0], dict(std=[1, 1, 1]), 'are negative'),
        ([123.0, 116.0, 103.0], [1.0, 1.0, 1.0], dict(std=[1, 1, 1]), 'are negative'),
        ([123.0, 116.0, 103.0], [58.0, 57.0, 57.0], dict(), 'are negative'),  # and by 255 again
        ([0.0, 0.0, 0.0], [255.0, 255.0, 255.0], dict(std=[1, 1, 1]), 'all values lie in [0, 1]'),
        ([0.0, 0.0, 0.0], [255.0, 255.0, 255.0], dict(), 'all values lie in [0, 1]'),
    ],
)
def test_images_that_the_data_set_normalised(mean, std, own, found):
    images, labels = image_batch()
    student = ImagePreprocessor(**own)
    batch, _ = student([normalised_by(images, mean, std), labels])
    teacher = ImagePreprocessor(mean=[1.0] * 3, std=[2.0] * 3)
    with pytest.raises(ValueError, match=re.escape(found)) as raised:
        TeacherImages(student, teacher)(batch)
    message = (
        r'^the batch does not hold pixels, (\d+% of the values are negative|all values lie in '
        r'\[0, 1\]) before the preprocessor of the student: is there a Normalize in the pipeline\? '
        r"Move mean and std from the pipeline to the student's data_preprocessor, so that the "
        r"teacher's batch can be made from it$"
    )
    assert re.match(message, str(raised.value))
    # With the same preprocessor both want the same batch, however it was made.
    assert TeacherImages(student, ImagePreprocessor(**own))(batch) is batch


@pytest.mark.parametrize('pixels', [0, 1, 40_000])
def test_dark_deep_and_slightly_negative_pixels_are_pixels(pixels):
    student, teacher = ImagePreprocessor(std=[1, 1, 1]), ImagePreprocessor()
    images = torch.full((2, 3, 4, 4), float(pixels))
    images[0, 0, 0, 0] = -30  # of an augmentation
    found = TeacherImages(student, teacher)(images)
    assert torch.allclose(found, images / 255)


def test_both_preprocessors_may_take_images_in_0_to_1():
    student = ImagePreprocessor(mean=[0.5] * 3, std=[0.25] * 3)
    teacher = ImagePreprocessor(mean=[0.485] * 3, std=[0.229] * 3)
    images = image_batch()[0].float() / 255
    labels = torch.zeros(len(images), dtype=torch.long)
    (batch, _), (expected, _) = student([images, labels]), teacher([images, labels])
    # float32 rounding of the way back and forth
    assert torch.allclose(TeacherImages(student, teacher)(batch), expected, atol=1e-5)


def test_only_the_first_batch_is_checked(monkeypatch):
    """Each check waits for the device."""
    student, teacher = ImagePreprocessor(std=[1, 1, 1]), ImagePreprocessor()
    teacher_images = TeacherImages(student, teacher)
    images = image_batch()[0].float()
    first = teacher_images(images)

    def read(*args):
        raise AssertionError('a value was read back')

    for name in ('item', 'tolist', 'cpu', '__bool__', '__float__', '__int__', '__format__'):
        monkeypatch.setattr(torch.Tensor, name, read)
    assert teacher_images(images).shape == first.shape


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
        (dict(std=[1, 0, 1]), 'mean=(0.0, 0.0, 0.0), std=(1.0, 0.0, 1.0)'),
        (dict(mean=[1]), 'mean=(1.0,), std=(255.0, 255.0, 255.0)'),
    ],
)
def test_mean_and_std_that_do_not_fit(options, values):
    message = f'mean and std need one value per channel, std positive, got {values}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImagePreprocessor(**options)


@pytest.mark.parametrize('name', ['mean', 'std'])
@pytest.mark.parametrize('values', [0.5, 'abc', [], ['1'], [True], [float('nan')], [[1.0]], None])
def test_mean_and_std_are_lists_of_numbers(name, values):
    message = f'{name} must be a list of numbers, one per channel, got {values!r}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImagePreprocessor(**{name: values})
    given = np.array([1.0, 2.0, 3.0])
    assert ImagePreprocessor(mean=given, std=torch.tensor(given)).scale == ((1.0, 2.0, 3.0),) * 2


@pytest.mark.parametrize(
    ('images', 'labels', 'error', 'message'),
    [
        (
            torch.zeros(2, 3, 4, 4),
            [0, 1],
            TypeError,
            "labels must be a tensor, got a list: set collate_fn=dict(type='collate_images') in "
            "the dataloader, since mmengine's default makes lists",
        ),
        (
            [torch.zeros(3, 4, 4)],
            torch.tensor([0]),
            TypeError,
            "images must be a tensor, got a list: set collate_fn=dict(type='collate_images') in "
            "the dataloader, since mmengine's default makes lists",
        ),
        (
            torch.zeros(2, 3, 4, 4),
            np.array([0, 1]),
            TypeError,
            "labels must be a tensor, got a ndarray: set collate_fn=dict(type='collate_images') "
            "in the dataloader, since mmengine's default makes lists",
        ),
        (
            torch.zeros(2, 3, 4, 4),
            torch.tensor([0.0, 1.0]),
            ValueError,
            'labels must be integers of the shape (N,), or probabilities of the shape (N, C), '
            'got torch.float32 of the shape (2,)',
        ),
        (
            torch.zeros(2, 3, 4, 4),
            torch.tensor([[1], [0]]),
            ValueError,
            'labels must be integers of the shape (N,), or probabilities of the shape (N, C), '
            'got torch.int64 of the shape (2, 1)',
        ),
        (
            torch.zeros(2, 1, 4, 4),
            torch.tensor([0, 1]),
            ValueError,
            'images must have the shape (N, 3, H, W), got (2, 1, 4, 4): mean and std of the '
            'data_preprocessor need one value per channel',
        ),
        (
            torch.zeros(3, 4, 4),
            torch.tensor([0]),
            ValueError,
            'images must have the shape (N, 3, H, W), got (3, 4, 4): mean and std of the '
            'data_preprocessor need one value per channel',
        ),
    ],
)
@pytest.mark.parametrize('num_classes', [None, 10])
def test_batches_of_another_kind(num_classes, images, labels, error, message):
    with pytest.raises(error, match=f'^{re.escape(message)}$'):
        ImagePreprocessor(num_classes=num_classes)([images, labels])


@pytest.mark.parametrize(
    ('more', 'error', 'message'),
    [
        (
            dict(index=torch.arange(4)),
            KeyError,
            "the batch has unknown keys ['index']; valid keys are ['images', 'indices', 'labels', "
            "'stored', 'strong']",
        ),
        (
            dict(strong=torch.zeros(4, 1, 8, 8)),
            ValueError,
            'strong must have the shape (N, 3, H, W), got (4, 1, 8, 8): mean and std of the '
            'data_preprocessor need one value per channel',
        ),
    ],
)
def test_other_parts_of_a_batch(more, error, message):
    images, labels = image_batch()
    with pytest.raises(error, match=re.escape(message)):
        ImagePreprocessor()(dict(more, images=images, labels=labels))
    with pytest.raises(KeyError, match='the batch lacks labels'):
        ImagePreprocessor()(dict(images=images))


@pytest.mark.parametrize('label', [-1, 10])
def test_label_outside_the_classes(label):
    model = MODELS.build(classifier_config())
    images, labels = image_batch()
    labels[2] = label
    message = (
        f'labels must lie in [0, 10), the classes of the network, got {label} (image 2 of the '
        'batch)'
    )
    if label == -1:
        message += (
            '; where images may lack a label, set allow_unlabelled=True in the data_preprocessor, '
            'which leaves them out of the cross entropy'
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
            r"^transforms\[0\] of type 'RandomCrop': missing a required .*argument: 'size'$",
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
    with pytest.raises(error, match=message.replace('transforms', 'strong_transforms')):
        Images([7], strong_transforms=[config])
