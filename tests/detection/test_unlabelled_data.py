"""The data set of images without labels, and what the export leaves of it."""

import copy
import json

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from PIL import Image

from wkd_det.detection.unlabelled import is_labelled
from wkd_det.detection.unlabelled_data import UnlabelledDataset, labelled_alone
from wkd_det.runtime.images import image_files
from wkd_det.runtime.source_sampler import SourceSampler

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(32, 32), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]


def save(path, height=20, width=30, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), 100, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / 'b.png')
    save(tmp_path / 'a' / 'deep' / 'x.JPG', 40, 20)
    save(tmp_path / 'c.jpeg')
    save(tmp_path / '.hidden' / 'x.png')
    save(tmp_path / 'a' / '._x.png')
    (tmp_path / 'notes.txt').write_text('no image')
    return tmp_path


def build(**options):
    return DATASETS.build(dict(dict(type='UnlabelledDataset', pipeline=PIPELINE), **options))


def test_every_image_of_a_folder_in_order(folder):
    dataset = build(data_root=str(folder))
    assert isinstance(dataset, UnlabelledDataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    names = [info['img_path'].removeprefix(f'{folder}/') for info in infos]
    assert names == ['a/deep/x.JPG', 'b.png', 'c.jpeg']
    assert [(info['height'], info['width']) for info in infos] == [(40, 20), (20, 30), (20, 30)]
    assert [info['img_id'] for info in infos] == [0, 1, 2]
    below = build(data_root=str(folder), data_prefix=dict(img='a'))
    assert [below.get_data_info(i)['img_path'] for i in range(len(below))] == [
        str(folder / 'a/deep/x.JPG')
    ]


def test_links_to_folders_are_followed_once(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    save(other / 'y.png')
    (other / 'z.png').mkdir()
    (folder / 'link').symlink_to(other)
    (other / 'back').symlink_to(folder)
    names = [path.relative_to(folder).as_posix() for path in image_files(folder)]
    assert names == ['a/deep/x.JPG', 'b.png', 'c.jpeg', 'link/y.png']


def test_an_image_that_is_shown_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / 'turned.jpg', 20, 30, exif=exif)
    dataset = build(data_root=str(tmp_path))
    info = dataset.get_data_info(0)
    assert (info['height'], info['width']) == (30, 20)
    assert dataset[0]['data_samples'].ori_shape == (30, 20)  # as it is read


def test_samples_say_that_they_have_no_labels(folder):
    dataset = build(data_root=str(folder))
    for sample in (dataset[index] for index in range(3)):
        assert not is_labelled(sample['data_samples'])
        assert sample['inputs'].shape[0] == 3
        assert sample['data_samples'].gt_instances.bboxes.shape == (0, 4)
        assert sample['data_samples'].ignored_instances.labels.shape == (0,)


def test_a_pipeline_that_loads_no_annotations(folder):
    pipeline = [step for step in PIPELINE if step['type'] != 'LoadAnnotations']
    sample = build(data_root=str(folder), pipeline=pipeline)[1]['data_samples']
    assert sample.gt_instances.bboxes.shape == (0, 4)
    assert sample.gt_instances.labels.dtype == torch.long
    assert sample.gt_instances.masks.to_ndarray().shape == (0, *sample.img_shape)
    assert not is_labelled(sample)


def test_images_of_a_coco_file_without_categories(folder):
    images = [
        dict(id=7, file_name='c.jpeg', height=20, width=30),
        dict(id=3, file_name='a/deep/x.JPG', height=40, width=20),
    ]
    annotations = [dict(id=1, image_id=7, category_id=1, bbox=[1, 2, 8, 8], area=64, iscrowd=0)]
    path = folder / 'images.json'
    for content in (dict(images=images), dict(images=images, annotations=annotations)):
        path.write_text(json.dumps(content))
        dataset = build(
            data_root=str(folder), ann_file='images.json', data_prefix=dict(img=''), indices=2
        )
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert [info['img_path'].removeprefix(f'{folder}/') for info in infos] == [
            'c.jpeg',
            'a/deep/x.JPG',
        ]
        assert dataset[0]['data_samples'].gt_instances.bboxes.shape == (0, 4)


def test_joined_with_labelled_images_it_takes_their_names(folder):
    content = dict(
        images=[dict(id=1, file_name='b.png', height=20, width=30)],
        annotations=[dict(id=1, image_id=1, category_id=5, bbox=[1, 2, 8, 8], area=64, iscrowd=0)],
        categories=[dict(id=5, name='ant')],
    )
    (folder / 'labelled.json').write_text(json.dumps(content))
    labelled = dict(
        type='CocoDataset',
        data_root=str(folder),
        ann_file='labelled.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('ant',)),
        pipeline=PIPELINE,
    )
    dataset = DATASETS.build(
        dict(
            type='ConcatDataset',
            ignore_keys=['classes', 'palette'],
            datasets=[
                labelled,
                dict(type='UnlabelledDataset', data_root=str(folder), pipeline=PIPELINE),
            ],
        )
    )
    assert dataset.metainfo['classes'] == ('ant',)
    assert [is_labelled(dataset[index]['data_samples']) for index in range(4)] == [True] + 3 * [
        False
    ]


def test_errors(folder):
    with pytest.raises(FileNotFoundError, match='^no images in .*/empty'):
        build(data_root=str(folder / 'empty'))
    (folder / 'bad.json').write_text(json.dumps(dict(annotations=[])))
    with pytest.raises(ValueError, match='bad.json must be a COCO file with images, it lists none'):
        build(data_root=str(folder), ann_file='bad.json')
    mixing = build(data_root=str(folder), pipeline=PIPELINE[:-1])
    message = '^the pipeline of an UnlabelledDataset must end in PackDetInputs'
    with pytest.raises(ValueError, match=message):
        mixing[0]
    (folder / 'broken.png').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='broken.png is no image that can be read'):
        build(data_root=str(folder))


LABELLED = dict(type='CocoDataset', ann_file='labelled.json')
HEAP = dict(type='UnlabelledDataset', data_root='heap')
USUAL = dict(type='DefaultSampler', shuffle=True)


def joined(*parts):
    return dict(type='ConcatDataset', datasets=list(parts))


def wrapped(part):
    return dict(type='RepeatDataset', times=2, dataset=part)


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (joined(LABELLED, HEAP), LABELLED),
        (joined(LABELLED, dict(type=UnlabelledDataset)), LABELLED),
        (joined(LABELLED, dict(type='mmdet.UnlabelledDataset')), LABELLED),
        (joined(LABELLED, LABELLED, HEAP), joined(LABELLED, LABELLED)),
        (joined(wrapped(LABELLED), wrapped(HEAP)), wrapped(LABELLED)),
        (wrapped(joined(LABELLED, HEAP)), wrapped(LABELLED)),
        (joined(joined(LABELLED, wrapped(wrapped(HEAP))), joined(HEAP)), LABELLED),
        (joined(LABELLED, dict(type='Unknown')), joined(LABELLED, dict(type='Unknown'))),
        (LABELLED, LABELLED),
    ],
)
def test_the_loader_of_the_plain_student(dataset, expected):
    loader = dict(batch_size=4, sampler=dict(type='SourceSampler'), dataset=dataset)
    before = copy.deepcopy(loader)
    assert labelled_alone(loader) == dict(batch_size=4, sampler=USUAL, dataset=expected)
    assert loader == before


@pytest.mark.parametrize('dataset', [HEAP, wrapped(HEAP), joined(HEAP, wrapped(HEAP))])
def test_without_labelled_data_there_is_no_loader(dataset):
    assert labelled_alone(dict(sampler=dict(type='SourceSampler'), dataset=dataset)) is None


def test_a_type_that_extends_ours_has_no_labels_either():
    @DATASETS.register_module()
    class MyHeap(UnlabelledDataset):
        pass

    try:
        for kind in ('MyHeap', MyHeap):
            loader = dict(dataset=joined(LABELLED, dict(type=kind)))
            assert labelled_alone(loader) == dict(sampler=USUAL, dataset=LABELLED)
    finally:
        DATASETS.module_dict.pop('MyHeap')


@pytest.mark.parametrize('kind', [SourceSampler, 'wkd_det.SourceSampler'])
def test_the_order_stays_shuffled_or_not(kind):
    loader = dict(sampler=dict(type=kind, shuffle=False), dataset=joined(LABELLED, LABELLED))
    assert labelled_alone(loader)['sampler'] == dict(type='DefaultSampler', shuffle=False)


def test_other_loaders_stay():
    for dataset in (LABELLED, joined(LABELLED, LABELLED), wrapped(LABELLED)):
        loader = dict(sampler=dict(type='InfiniteSampler'), dataset=dataset)
        assert labelled_alone(loader) == loader
    assert labelled_alone(dict(batch_size=2)) == dict(batch_size=2)
