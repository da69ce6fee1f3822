"""Data sets: what is missing, what does not decode, and what an image becomes."""

import pickle

import numpy as np
import pytest
import torch
import torchvision
from mmdet.registry import DATASETS
from PIL import Image

from wkd_det.classification.data import build_transform, collate_images
from wkd_det.classification.datasets import (
    CIFAR100Dataset,
    DigitsDataset,
    ImageFolderDataset,
    ImageNetDataset,
)


@pytest.fixture
def folders(tmp_path):
    """Three images of each of two classes."""
    for label, name in enumerate(['ant', 'bee']):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = np.full((5, 6, 3), 100 * label + index, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f'{index}.png')
    return tmp_path


def spoil(folder):
    path = folder / 'bee' / '1.png'
    path.write_bytes(path.read_bytes()[:40])
    return path


# Folders


def test_folder_gives_bytes_labels_and_names(folders):
    dataset = DATASETS.build(dict(type='ImageFolderDataset', data_root=str(folders)))
    assert dataset.metainfo == dict(classes=('ant', 'bee'))
    assert list(dataset.labels()) == [0, 0, 0, 1, 1, 1]
    image, label = dataset[4]
    assert (image.dtype, image.shape, label) == (torch.uint8, (3, 5, 6), 1)
    assert (image == 101).all()


def test_labels_follow_the_given_classes_where_a_folder_is_missing(folders):
    dataset = ImageFolderDataset(str(folders), classes=['bat', 'bee', 'cat', 'ant'])
    assert sorted(dataset.labels()) == [1, 1, 1, 3, 3, 3]
    with pytest.raises(ValueError, match=r"folders \['bee'\].*none of classes"):
        ImageFolderDataset(str(folders), classes=['ant'])


def test_image_that_does_not_decode_is_named_and_skipped_only_if_asked(folders, caplog):
    path = spoil(folders)
    with pytest.raises(ValueError, match=f"{path} does not decode.*on_bad_image='skip'"):
        ImageFolderDataset(str(folders))[4]
    dataset = ImageFolderDataset(str(folders), on_bad_image='skip')
    assert dataset[4] is None
    images, labels = collate_images([dataset[index] for index in (3, 4, 5)])
    assert images.shape == (2, 3, 5, 6)
    assert labels.tolist() == [1, 1]
    with pytest.raises(ValueError, match='none of the 1 images of a batch decodes'):
        collate_images([dataset[4]])
    with pytest.raises(ValueError, match=r"on_bad_image must be one of .*got 'warn'"):
        ImageFolderDataset(str(folders), on_bad_image='warn')


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (
            lambda root: CIFAR100Dataset(root, split='train'),
            'download https://.*cifar-100',
        ),
        (
            lambda root: ImageNetDataset(root, split='val'),
            'image-net.org.*/val/<synset>',
        ),
        (lambda root: ImageFolderDataset(root), 'one folder a class'),
    ],
)
def test_missing_data_say_what_to_download_where(build, message, tmp_path):
    with pytest.raises(FileNotFoundError, match=message):
        build(str(tmp_path / 'nowhere'))


def test_folder_without_images(tmp_path):
    (tmp_path / 'ant').mkdir()
    with pytest.raises(FileNotFoundError, match='one folder a class'):
        ImageFolderDataset(str(tmp_path))


def test_imagenet_has_a_thousand_synsets(folders):
    (folders / 'train').mkdir()
    for name in ('ant', 'bee'):
        (folders / name).rename(folders / 'train' / name)
    with pytest.raises(ValueError, match='has 2 folders, ImageNet has 1000'):
        ImageNetDataset(str(folders), split='train')
    assert len(ImageNetDataset(str(folders), split='train', classes=['ant', 'bee'])) == 6
    with pytest.raises(ValueError, match=r"one of \('train', 'val'\), got 'test'"):
        ImageNetDataset(str(folders), split='test')


# CIFAR-100


def test_cifar_100_as_its_archive_stores_it(tmp_path, monkeypatch):
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    pixels = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)
    (folder / 'test').write_bytes(pickle.dumps(dict(data=pixels, fine_labels=[7, 3])))
    names = [f'class {index}' for index in range(100)]
    (folder / 'meta').write_bytes(pickle.dumps(dict(fine_label_names=names)))
    monkeypatch.setattr(torchvision.datasets.CIFAR100, '_check_integrity', lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, 'check_integrity', lambda *_: True)
    dataset = CIFAR100Dataset(str(tmp_path), split='test')
    assert len(dataset.metainfo['classes']) == 100
    image, label = dataset[1]
    assert label == 3
    assert torch.equal(image, torch.from_numpy(pixels[1].reshape(3, 32, 32)))


# Digits


def test_digits_are_deterministic_disjoint_and_nested():
    few = DigitsDataset(split='train', per_class=3, noise=0.2)
    again = DigitsDataset(split='train', per_class=3, noise=0.2)
    more = DigitsDataset(split='train', per_class=5, noise=0.2)
    test = DigitsDataset(split='test', noise=0.2)
    assert (len(few), len(more), len(test)) == (30, 50, 600)
    assert [few.labels().count(digit) for digit in range(10)] == [3] * 10
    assert all(torch.equal(few[i][0], again[i][0]) for i in range(30))
    keys = [{image.numpy().tobytes() for image, _ in data} for data in (few, more, test)]
    assert keys[0] < keys[1]
    assert not keys[1] & keys[2]
    assert few[0][0].shape == (3, 32, 32)
    everything = DigitsDataset(split='train')
    assert len(everything) + len(test) == 1797
    other = DigitsDataset(split='train', per_class=3, noise=0.2, seed=1)
    assert not all(torch.equal(few[i][0], other[i][0]) for i in range(30))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(split='val'), r"one of \('train', 'test'\), got 'val'"),
        (dict(split='train', per_class=200), r'per_class must lie in \[1, 1\d\d\] for the digit'),
        (dict(split='train', size=4), 'size must be at least 8'),
    ],
)
def test_digits_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        DigitsDataset(**options)


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


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        (dict(type='RandomCorp', size=3), KeyError, r"transforms\[0\].type.*'RandomCrop'"),
        (dict(type='RandomCrop', sizes=3), KeyError, "unknown keys .'sizes'.*padding"),
        (dict(type='RandomCrop'), TypeError, "missing a required argument: 'size'"),
    ],
)
def test_wrong_transforms(config, error, message):
    with pytest.raises(error, match=message):
        build_transform([config])
