"""Images in arrays: what is read, parts of them, mapped files, and what may be wrong."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS

from wkd_det.classification.arrays import ArraysDataset

LAYOUT = (
    'an .npz file with arrays train_images (N, H, W, 3) or (N, H, W), 8 bits, train_labels (N,), '
    'and likewise val_* or test_*, as np.savez writes it'
)


def arrays(**changes):
    """Twelve training images of three classes, sorted by class, and three test images."""
    train = np.arange(12 * 5 * 6 * 3, dtype=np.uint64).astype(np.uint8).reshape(12, 5, 6, 3)
    values = dict(
        train_images=train,
        train_labels=np.repeat(np.arange(3), 4),
        test_images=train[::4],
        test_labels=np.array([[0], [1], [2]], dtype=np.uint8),
    )
    values.update(changes)
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture
def save(tmp_path):
    def write(write=np.savez, **changes):
        write(tmp_path / 'images.npz', **arrays(**changes))
        return str(tmp_path / 'images.npz')

    return write


# What is read


@pytest.mark.parametrize('memory_map', [False, True])
def test_images_and_labels_as_they_are_stored(save, memory_map):
    section = dict(type='ArraysDataset', path=save(), split='train', memory_map=memory_map)
    dataset = DATASETS.build(section)
    assert len(dataset) == 12
    assert dataset.labels() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.metainfo == dict(classes=('0', '1', '2'))
    image, label = dataset[7]
    assert label == 1
    assert torch.equal(image, torch.from_numpy(arrays()['train_images'][7]).permute(2, 0, 1))
    test = ArraysDataset(save(), split='test')
    assert test.labels() == [0, 1, 2]
    assert torch.equal(test[1][0], dataset[4][0])


def test_mapped_images_stay_in_the_file(save):
    names = ['a', 'b', 'c']
    dataset = ArraysDataset(save(classes=names), split='train', memory_map=True, per_class=2)
    assert isinstance(dataset._images, np.memmap)
    held = ArraysDataset(save(classes=names), split='train', per_class=2)
    assert len(dataset) == 6
    assert all(torch.equal(one[0], other[0]) for one, other in zip(dataset, held, strict=True))
    assert dataset.labels() == held.labels()


def test_grey_images_stay_grey_unless_a_transform_colours_them(save):
    grey = arrays()['train_images'][..., 0]
    path = save(train_images=grey)
    assert torch.equal(ArraysDataset(path, split='train')[3][0][0], torch.from_numpy(grey[3]))
    colours = [dict(type='Grayscale', num_output_channels=3)]
    image, _ = ArraysDataset(path, split='train', transforms=colours)[3]
    assert torch.equal(image, torch.from_numpy(grey[3]).expand(3, -1, -1))


def test_names_of_the_classes(save):
    named = save(classes=np.array(['ant', 'bee', 'cat']))
    assert ArraysDataset(named, split='test').metainfo['classes'] == ('ant', 'bee', 'cat')
    chosen = ArraysDataset(named, split='test', classes=['x', 'y', 'z', 'unseen'])
    assert chosen.metainfo['classes'] == ('x', 'y', 'z', 'unseen')
    raw = save(classes=np.array([b'ant', b'bee', b'cat']))
    assert ArraysDataset(raw, split='test').metainfo['classes'] == ('ant', 'bee', 'cat')
    # a split that lacks the last class
    few = save(test_labels=np.array([0, 1, 1]))
    assert ArraysDataset(few, split='test').metainfo['classes'] == ('0', '1', '2')


# Parts


def test_a_validation_split_is_drawn_from_the_training_images(save):
    path = save()
    options = dict(val_per_class=1, seed=3)
    train = ArraysDataset(path, split='train', **options)
    val = ArraysDataset(path, split='val', **options)
    assert train.labels() == [0] * 3 + [1] * 3 + [2] * 3
    assert val.labels() == [0, 1, 2]
    keys = [{image.numpy().tobytes() for image, _ in data} for data in (train, val)]
    assert not keys[0] & keys[1]
    assert len(keys[0] | keys[1]) == 12
    few = ArraysDataset(path, split='train', per_class=2, **options)
    assert {image.numpy().tobytes() for image, _ in few} < keys[0]
    assert len(ArraysDataset(path, split='test', **options)) == 3
    large = ArraysDataset(path, split='val', val_per_class=3, seed=3)
    assert len(ArraysDataset(path, split='val', val_per_class=3, per_class=2, seed=3)) == 6
    assert keys[1] < {image.numpy().tobytes() for image, _ in large}
    other = ArraysDataset(path, split='val', val_per_class=1, seed=4)
    assert {image.numpy().tobytes() for image, _ in other} != keys[1]


def test_images_without_a_label(save):
    labels = np.repeat(np.arange(3), 4)
    labels[[2, 11]] = -1
    path = save(train_labels=labels)
    dataset = ArraysDataset(path, split='train', allow_unlabelled=True)
    assert dataset.labels() == labels.tolist()
    few = ArraysDataset(path, split='train', allow_unlabelled=True, per_class=1)
    assert sorted(few.labels()) == [-1, -1, 0, 1, 2]
    message = (
        f'{path}: train_labels must lie in [0, 3), the number of classes, got -1 (image 2); '
        'allow_unlabelled=True lets images lack a label'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ArraysDataset(path, split='train')


# Errors


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (
            dict(train_images=None),
            dict(),
            "{path} has no array 'train_images'; it has train_labels, test_images, test_labels. "
            f'It should be {LAYOUT}',
        ),
        (
            dict(train_labels=None),
            dict(memory_map=True),
            "{path} has no array 'train_labels'; it has train_images, test_images, test_labels. "
            f'It should be {LAYOUT}',
        ),
        (
            dict(),
            dict(split='val'),
            "{path} has no array 'val_labels'; it has train_images, train_labels, test_images, "
            f'test_labels. It should be {LAYOUT}',
        ),
        (
            dict(train_images=np.zeros((12, 5, 6, 3))),
            dict(),
            '{path}: train_images must be uint8 of the shape (N, H, W) or (N, H, W, 3), got '
            'float64 of the shape (12, 5, 6, 3)',
        ),
        (
            dict(train_images=np.zeros((12, 3, 5, 6), dtype=np.uint8)),
            dict(memory_map=True),
            '{path}: train_images must be uint8 of the shape (N, H, W) or (N, H, W, 3), got '
            'uint8 of the shape (12, 3, 5, 6)',
        ),
        (
            dict(train_labels=np.zeros(12)),
            dict(),
            '{path}: train_labels must be integers of the shape (N,) or (N, 1), got float64 of the '
            'shape (12,)',
        ),
        (
            dict(train_labels=np.zeros((12, 2), dtype=int)),
            dict(),
            '{path}: train_labels must be integers of the shape (N,) or (N, 1), got int64 of the '
            'shape (12, 2)',
        ),
        (
            dict(train_labels=np.array(['ant'] * 12, dtype=object)),
            dict(),
            '{path}: train_labels holds Python objects, not numbers or names',
        ),
        (
            dict(train_labels=np.zeros(11, dtype=int)),
            dict(),
            '{path}: train_images and train_labels must have the same length, got 12 and 11',
        ),
        (
            dict(),
            dict(classes=['ant', 'bee']),
            '{path}: train_labels must lie in [0, 2), the number of classes, got 2 (image 8)',
        ),
        (
            dict(classes=np.arange(3)),
            dict(),
            '{path}: classes must be a list of names, got int64 of the shape (3,)',
        ),
        (
            dict(),
            dict(per_class=5),
            "per_class must lie in [1, 4] for the class '0', got 5",
        ),
        (
            dict(),
            dict(val_per_class=5),
            "val_per_class must lie in [1, 4] for the class '0', got 5",
        ),
        (
            dict(),
            dict(val_per_class=4),
            "val_per_class=4 leaves no image in the split 'train'",
        ),
        (
            dict(val_images=np.zeros((1, 5, 6), np.uint8), val_labels=np.zeros(1, int)),
            dict(val_per_class=1),
            "{path} has a split 'val' of its own: leave val_per_class at 0",
        ),
        (dict(), dict(split='valid'), "split must be one of ('train', 'val', 'test'), got 'valid'"),
    ],
)
def test_files_and_options_that_do_not_fit(save, changes, options, message):
    path = save(**changes)
    with pytest.raises(ValueError, match=f'^{re.escape(message.format(path=path))}$'):
        ArraysDataset(path, **dict(dict(split='train'), **options))


def test_a_compressed_file_is_read_but_not_mapped(save):
    path = save(np.savez_compressed)
    assert len(ArraysDataset(path, split='train')) == 12
    message = (
        f'{path} is compressed, so that train_images cannot be mapped: write it by np.savez and '
        'not np.savez_compressed, or leave memory_map at False'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ArraysDataset(path, split='train', memory_map=True)


def test_other_files_and_none(tmp_path):
    path = tmp_path / 'images.npy'
    message = f'no file {path} (from {Path.cwd()}): it should be {LAYOUT}'
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        ArraysDataset(str(path), split='train')
    np.save(path, np.zeros(3))
    message = f'{path} is no .npz file: it should be {LAYOUT}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ArraysDataset(str(path), split='train')
