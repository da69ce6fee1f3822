"""Data sets: images and labels of each, and how one says that its files are missing."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from mmdet.registry import DATASETS
from PIL import Image

from wkd_det.classification.data import collate_images
from wkd_det.classification.datasets import (
    CIFAR100Dataset,
    DigitsDataset,
    ImageFolderDataset,
    ImageNetDataset,
)

FOLDERS = 'one folder per class, with its images in it: <data_root>/<class>/<image>.jpg'


@pytest.fixture
def folders(tmp_path):
    """Three images of each of two classes."""
    for label, name in enumerate(['ant', 'bee']):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = np.full((5, 6, 3), 100 * label + index, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f'{index}.png')
    return tmp_path


# Folders


def test_folder_gives_bytes_labels_and_names(folders):
    dataset = DATASETS.build(dict(type='ImageFolderDataset', data_root=str(folders)))
    assert dataset.metainfo == dict(classes=('ant', 'bee'))
    assert list(dataset.labels()) == [0, 0, 0, 1, 1, 1]
    image, label = dataset[4]
    assert (image.dtype, image.shape, label) == (torch.uint8, (3, 5, 6), 1)
    assert (image == 101).all()


def test_an_image_that_does_not_decode_is_named_by_its_path(folders):
    path = folders / 'bee' / '1.png'
    path.write_bytes(path.read_bytes()[:40])
    message = f"^{path} does not decode: .*; on_bad_image='skip' leaves such images out$"
    with pytest.raises(ValueError, match=message):
        ImageFolderDataset(str(folders))[4]
    dataset = ImageFolderDataset(str(folders), on_bad_image='skip')
    assert dataset[4] is None
    images, labels = collate_images([dataset[index] for index in (3, 4, 5)])
    assert images.shape == (2, 3, 5, 6)
    assert labels.tolist() == [1, 1]


def test_labels_follow_the_given_classes_where_a_folder_is_missing(folders):
    dataset = ImageFolderDataset(str(folders), classes=['bat', 'bee', 'cat', 'ant'])
    assert sorted(dataset.labels()) == [1, 1, 1, 3, 3, 3]
    message = f"{folders} has the folders ['bee'], which are none of classes"
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImageFolderDataset(str(folders), classes=['ant'])


def test_hidden_files_and_folders_are_no_images_and_no_classes(folders):
    picture = (folders / 'ant' / '0.png').read_bytes()
    for hidden in (
        '.ipynb_checkpoints/0-checkpoint.png',
        '.Trash/bee/0.png',
        'ant/.ipynb_checkpoints/0-checkpoint.png',
        'ant/.thumbnails/large/0.png',
        'bee/._0.png',
    ):
        (folders / hidden).parent.mkdir(parents=True, exist_ok=True)
        (folders / hidden).write_bytes(picture)
    (folders / '.DS_Store').write_bytes(b'')
    for options in (dict(), dict(classes=['ant', 'bee'])):
        dataset = ImageFolderDataset(str(folders), **options)
        assert dataset.metainfo == dict(classes=('ant', 'bee'))
        assert list(dataset.labels()) == [0, 0, 0, 1, 1, 1]
    names = ['ant', '.ipynb_checkpoints', 'bee']
    chosen = ImageFolderDataset(str(folders), classes=names)
    assert list(chosen.labels()) == [1, 0, 0, 0, 2, 2, 2]  # by folder; it is named, so it is meant


def test_images_below_a_hidden_folder_are_found(folders):
    (folders / '.cache').mkdir()
    for name in ('ant', 'bee'):
        (folders / name).rename(folders / '.cache' / name)
    assert len(ImageFolderDataset(str(folders / '.cache'))) == 6
    message = f'no images in {folders} (from {Path.cwd()}): {FOLDERS}'
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        ImageFolderDataset(str(folders))


@pytest.mark.parametrize(
    ('suffix', 'dtype', 'mode'),
    [('png', np.uint16, 'I;16'), ('tif', np.uint16, 'I;16'), ('tif', np.float32, 'F')],
)
def test_deep_images_are_refused_rather_than_cut(folders, suffix, dtype, mode):
    path = folders / 'ant' / f'0000.{suffix}'
    Image.fromarray(np.full((5, 6), 300, dtype=dtype)).save(path)
    message = (
        f'{path} has more than 8 bits per value (mode {mode!r} of Pillow), and as 8-bit RGB it '
        'would lose all above 255: rescale the images to 8 bits, or read them by an ImageDataset '
        'of your own'
    )
    for on_bad_image in ('raise', 'skip'):  # it decodes: it is not for skipping
        with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
            ImageFolderDataset(str(folders), on_bad_image=on_bad_image)[1]


@pytest.mark.parametrize(
    ('mode', 'values', 'expected'),
    [
        ('L', 7, [7, 7, 7]),
        ('1', 1, [255, 255, 255]),
        ('LA', (7, 0), [7, 7, 7]),
        ('RGBA', (1, 2, 3, 0), [1, 2, 3]),
        ('P', (255, 0, 255), [255, 0, 255]),  # in Pillow's palette
    ],
)
def test_images_of_8_bits_are_read_as_rgb(tmp_path, mode, values, expected):
    (tmp_path / 'ant').mkdir()
    image = Image.new('RGB', (4, 4), values).convert('P') if mode == 'P' else None
    (image or Image.new(mode, (4, 4), values)).save(tmp_path / 'ant' / '0.png')
    pixels, _ = ImageFolderDataset(str(tmp_path))[0]
    assert pixels.dtype == torch.uint8
    assert pixels[:, 0, 0].tolist() == expected


def test_grey_images_by_a_transform(folders):
    grey = ImageFolderDataset(str(folders), transforms=[dict(type='Grayscale')])
    assert grey[4][0].shape == (1, 5, 6)
    assert (grey[4][0] == 101).all()


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (
            lambda root: CIFAR100Dataset(root, split='train'),
            'CIFAR-100 is not (whole) in {root}/cifar-100-python, and there is no '
            '{root}/cifar100.npz: download {url} and unpack it in {root}: mkdir -p {root} && '
            'curl -L {url} | tar xz -C {root}',
        ),
        (
            lambda root: ImageNetDataset(root, split='val'),
            'no images in {root}/val (from {here}): ImageNet (ILSVRC 2012) needs a log-in: '
            'download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from '
            'https://image-net.org/download-images, and unpack them into '
            '<data_root>/train/<synset>/*.JPEG and <data_root>/val/<synset>/*.JPEG, with the '
            'names of the synsets (n01440764, ...) as folders',
        ),
        (ImageFolderDataset, f'no images in {{root}} (from {{here}}): {FOLDERS}'),
    ],
)
def test_missing_data_say_what_to_download_where(build, message, tmp_path):
    root = str(tmp_path / 'nowhere')
    message = message.format(root=root, here=Path.cwd(), url=torchvision.datasets.CIFAR100.url)
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        build(root)


def test_folder_without_images(tmp_path):
    (tmp_path / 'ant').mkdir()
    with pytest.raises(FileNotFoundError, match=f'; {FOLDERS}$'):
        ImageFolderDataset(str(tmp_path))


def test_imagenet_has_a_thousand_synsets(folders):
    (folders / 'train').mkdir()
    for name in ('ant', 'bee'):
        (folders / name).rename(folders / 'train' / name)
    message = (
        f'{folders}/train has 2 folders, ImageNet has 1000 synsets; for a part of it give their '
        'names as classes'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImageNetDataset(str(folders), split='train')
    assert len(ImageNetDataset(str(folders), split='train', classes=['ant', 'bee'])) == 6
    message = "split must be one of ('train', 'val'), got 'test'"
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
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


def cifar_arrays(**changes):
    """Two images of each of 100 classes, sorted by class."""
    pixels = np.arange(200, dtype=np.uint8)[:, None] + np.arange(3072, dtype=np.uint8)
    pixels = pixels.reshape(200, 32, 32, 3)
    labels = np.repeat(np.arange(100), 2)
    classes = np.array([f'class {index}' for index in range(100)])
    return dict(dict(train_images=pixels, train_labels=labels, classes=classes), **changes)


def test_cifar_100_from_arrays(tmp_path):
    arrays = cifar_arrays()
    np.savez(tmp_path / 'cifar100.npz', **arrays)
    dataset = CIFAR100Dataset(str(tmp_path), split='train')
    assert dataset.metainfo['classes'] == tuple(arrays['classes'])
    image, label = dataset[7]
    assert label == 3
    assert torch.equal(image, torch.from_numpy(arrays['train_images'][7]).permute(2, 0, 1))
    options = dict(val_per_class=1, seed=1)
    train = CIFAR100Dataset(str(tmp_path), split='train', **options)
    val = CIFAR100Dataset(str(tmp_path), split='val', **options)
    assert train.labels() == val.labels() == list(range(100))
    assert not any(torch.equal(train[i][0], val[i][0]) for i in range(100))
    few = CIFAR100Dataset(str(tmp_path), split='train', per_class=1)
    assert few.labels() == list(range(100))


def test_arrays_that_are_not_those_of_cifar_100(tmp_path):
    arrays = cifar_arrays(train_images=np.zeros((200, 28, 28), dtype=np.uint8))
    np.savez(tmp_path / 'cifar100.npz', **arrays)
    message = (
        f'{tmp_path}/cifar100.npz does not hold CIFAR-100: images must be 32 x 32 x 3 and labels '
        'lie in [0, 100), got train_images of the shape (200, 28, 28), 200 labels from 0 to 99 '
        'and 100 classes'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        CIFAR100Dataset(str(tmp_path), split='train')
    message = "CIFAR-100 has no split 'val' of its own: set val_per_class"
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        CIFAR100Dataset(str(tmp_path), split='val')


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
        (dict(split='val'), r"split must be one of \('train', 'test'\), got 'val'"),
        (
            dict(split='train', per_class=200),
            r'per_class must lie in \[1, 118\] for the digit 0, got 200',
        ),
        (dict(split='train', size=4), 'size must be at least 8, noise >= 0; got size=4, noise=0.0'),
        (
            dict(split='train', noise=-0.5),
            'size must be at least 8, noise >= 0; got size=32, noise=-0.5',
        ),
    ],
)
def test_digits_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        DigitsDataset(**options)
