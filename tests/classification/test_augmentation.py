"""Augmentation of whole batches: torchvision's bytes and torchvision's distribution."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from wkd_det.classification.arrays import ArraysDataset
from wkd_det.classification.augmentation import BatchAugmentation
from wkd_det.classification.data import ImageDataset, collate_images

USUAL = [dict(type='RandomCrop', size=6, padding=1), dict(type='RandomHorizontalFlip')]


def pixels(count=3, height=6, width=6, channels=3):
    """Images with another value in each pixel, so that no two crops are equal."""
    values = np.random.default_rng(0).permutation(count * height * width * channels)
    return values.astype(np.uint8).reshape(count, height, width, channels)


def tensors(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.fixture
def path(tmp_path):
    images = pixels(8)
    labels = np.arange(8) % 4
    np.savez(tmp_path / 'images.npz', train_images=images, train_labels=labels)
    return str(tmp_path / 'images.npz')


# Bytes


@pytest.mark.parametrize(
    'transform',
    [
        transforms.CenterCrop(4),
        transforms.CenterCrop((2, 5)),
        transforms.Pad(2, fill=7),
        transforms.RandomHorizontalFlip(p=1.0),
        transforms.RandomVerticalFlip(p=1.0),
        transforms.RandomCrop(6),
        transforms.RandomCrop((9, 8), pad_if_needed=True, fill=3, padding_mode='constant'),
    ],
    ids=lambda transform: str(transform),
)
def test_without_chance_the_bytes_are_those_of_torchvision(transform):
    images = pixels(2)
    augmentation = BatchAugmentation([transform], (6, 6))
    torch.manual_seed(0)
    found = augmentation(tensors(images), augmentation.draw(2))
    for image, one in zip(images, found, strict=True):
        if isinstance(transform, transforms.RandomCrop) and transform.pad_if_needed:
            # Padding on both sides leaves a choice; every crop that torchvision cuts is tried.
            seen = {transform(Image.fromarray(image)).tobytes() for _ in range(300)}
            assert one.permute(1, 2, 0).numpy().tobytes() in seen
        else:
            expected = np.array(transform(Image.fromarray(image)))
            assert torch.equal(one, torch.from_numpy(expected).permute(2, 0, 1))


def test_each_crop_is_the_one_that_was_drawn():
    crop = transforms.RandomCrop((4, 5), padding=2, fill=9)
    augmentation = BatchAugmentation([crop, transforms.RandomVerticalFlip()], (6, 6))
    images = tensors(pixels(3))
    drawn = torch.tensor([[0, 0, 0], [6, 5, 1], [3, 2, 0]], dtype=torch.int16)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), value=9)
    expected = [
        padded[0, :, 0:4, 0:5],
        padded[1, :, 6:10, 5:10].flip(1),
        padded[2, :, 3:7, 2:7],
    ]
    assert torch.equal(augmentation(images, drawn), torch.stack(expected))
    assert augmentation.draw(2000).amin(0).tolist() == [0, 0, 0]
    assert augmentation.draw(2000).amax(0).tolist() == [6, 5, 1]


def test_no_transforms_leave_the_images():
    augmentation = BatchAugmentation([], (6, 6))
    images = tensors(pixels(2))
    assert augmentation.draw(2).shape == (2, 0)
    assert torch.equal(augmentation(images, augmentation.draw(2)), images)


# Distribution


def test_crops_and_flips_come_as_often_as_those_of_torchvision():
    chain = [transforms.RandomCrop(6, padding=1), transforms.RandomHorizontalFlip(0.3)]
    image = pixels(1)
    draws = 9000
    torch.manual_seed(0)
    augmentation = BatchAugmentation(chain, (6, 6))
    batch = tensors(image).expand(draws, -1, -1, -1)
    ours = Counter(one.tobytes() for one in augmentation(batch, augmentation.draw(draws)).numpy())
    single = transforms.Compose([*chain, transforms.PILToTensor()])
    theirs = Counter(single(Image.fromarray(image[0])).numpy().tobytes() for _ in range(draws // 9))
    assert len(ours) == 9 * 2  # nine crops, reflected or not
    assert set(theirs) == set(ours)
    # Chi squared of the counts against the exact shares, 17 degrees of freedom: 40.8 is passed by
    # one seed of a thousand.
    shares = dict(zip(ours, [0] * len(ours)))
    for top in range(3):
        for left in range(3):
            crop = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))[top : top + 6, left : left + 6]
            shares[crop.transpose(2, 0, 1).tobytes()] = 0.7 / 9
            shares[crop[:, ::-1].transpose(2, 0, 1).tobytes()] = 0.3 / 9
    chi = sum((ours[key] - draws * share) ** 2 / (draws * share) for key, share in shares.items())
    assert sum(shares.values()) == pytest.approx(1)
    assert chi < 40.8


def test_the_images_of_a_batch_are_drawn_apart():
    augmentation = BatchAugmentation([transforms.RandomCrop(6, padding=1)], (6, 6))
    torch.manual_seed(0)
    first, second = augmentation.draw(4000)[:, 0].view(2, -1).float()
    # Independent rows have a correlation of 1 / sqrt(2000) = 0.02; 0.1 is five times that.
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.1


# Fixed views


def test_a_view_is_fixed_by_its_number_and_the_seed():
    augmentation = BatchAugmentation([transforms.RandomCrop(6, padding=4)], (6, 6))
    table = augmentation.table(50, view=3, seed=1)
    torch.manual_seed(5)
    assert torch.equal(augmentation.table(50, view=3, seed=1), table)
    assert not torch.equal(augmentation.table(50, view=4, seed=1), table)
    assert not torch.equal(augmentation.table(50, view=3, seed=2), table)
    # Recorded: stored logits belong to these draws.
    assert augmentation.table(3, view=0, seed=0).tolist() == RECORDED


RECORDED = [[0, 2], [2, 7], [1, 0]]


# Data sets


def test_a_batched_data_set_gives_what_an_ordinary_one_does(path):
    options = dict(split='train', transforms=[dict(type='CenterCrop', size=4)])
    ordinary = ArraysDataset(path, **options)
    for more in (dict(), dict(with_index=True)):
        batched = ArraysDataset(path, batched=True, **more, **options)
        loader = torch.utils.data.DataLoader(batched, batch_size=8, collate_fn=collate_images)
        (batch,) = loader
        if more:
            assert batch['indices'].tolist() == list(range(8))
            batch = [batch['images'], batch['labels']]
        expected = collate_images([ordinary[index] for index in range(8)])
        assert all(torch.equal(one, other) for one, other in zip(batch, expected, strict=True))
        one = batched[3]
        assert torch.equal(one[0], ordinary[3][0])
        assert one[1] == ordinary[3][1]


@pytest.mark.parametrize('memory_map', [False, True])
@pytest.mark.parametrize('channels', [1, 3])
def test_parts_mapped_files_and_grey_images(tmp_path, memory_map, channels):
    images = pixels(8, channels=channels)
    if channels == 1:
        images = images[..., 0]
    path = str(tmp_path / 'images.npz')
    np.savez(path, train_images=images, train_labels=np.arange(8) % 2)
    options = dict(split='train', per_class=2, seed=3, memory_map=memory_map)
    ordinary = ArraysDataset(path, **options)
    batched = ArraysDataset(path, batched=True, **options)
    for one, other in zip(batched.__getitems__([3, 0, 2]), (3, 0, 2), strict=True):
        assert torch.equal(one[0], ordinary[other][0])
        assert one[1] == ordinary[other][1]


def test_draws_follow_the_seed_of_the_run(path):
    dataset = ArraysDataset(path, split='train', transforms=USUAL, batched=True)
    torch.manual_seed(1)
    first = collate_images(dataset.__getitems__([0, 1, 2]))[0]
    second = collate_images(dataset.__getitems__([0, 1, 2]))[0]
    torch.manual_seed(1)
    assert torch.equal(collate_images(dataset.__getitems__([0, 1, 2]))[0], first)
    assert not torch.equal(second, first)


def test_subsets_of_torch_ask_for_whole_batches(path, monkeypatch):
    dataset = ArraysDataset(path, split='train', transforms=USUAL, batched=True)
    monkeypatch.setattr(ImageDataset, '__getitem__', None)  # one by one would fail
    part = torch.utils.data.Subset(dataset, [5, 6, 7])
    (batch,) = torch.utils.data.DataLoader(part, batch_size=3, collate_fn=collate_images)
    assert batch[1].tolist() == [1, 2, 3]


# Errors


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(transforms=[dict(type='ColorJitter')]),
            'batched=True knows RandomCrop, RandomHorizontalFlip, RandomVerticalFlip, CenterCrop, '
            'Pad, got ColorJitter: leave batched at False',
        ),
        (
            dict(transforms=[dict(type='Pad', padding=1, fill=(1, 2, 3))]),
            'batched=True needs one fill for all channels, got (1, 2, 3)',
        ),
        (
            dict(transforms=[dict(type='RandomCrop', size=9, padding=1)]),
            'RandomCrop must cut at most 8 x 8, the padded image, got 9 x 9',
        ),
        (
            dict(strong_transforms=[]),
            'batched=True gives one view: leave strong_transforms out',
        ),
    ],
)
def test_what_does_not_go_with_batches(path, options, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ArraysDataset(path, split='train', batched=True, **options)


def test_numbers_of_views():
    augmentation = BatchAugmentation([], (6, 6))
    with pytest.raises(ValueError, match=r'^view must be an integer of at least 0, got -1$'):
        augmentation.table(3, view=-1, seed=0)
