"""Data of a config: ground truth without augmentation, and splits that are not there."""

import copy
import json

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch.testing import assert_close

from commands import ROOT
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from tiny_files import truth_of
from wkd_det.inspection.opening import (
    annotated_dataset,
    check_plain,
    class_names_of,
    plain_sets,
    unaugmented_data_of,
)
from wkd_det.inspection.roi_features import open_roi_features
from wkd_det.testing import save_detector


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('opening')
    make_dataset(path / 'data', train=6, val=3, size=64, seed=0)
    return path


def config_of(folder):
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = f'{folder}/data/'
    return config


@pytest.mark.parametrize('split', ['train', 'val'])
def test_boxes_go_with_the_resized_image(folder, split):
    dataset = annotated_dataset(config_of(folder), split)
    truth = truth_of(folder, split)
    assert len(dataset) == len(truth) == (6 if split == 'train' else 3)
    for item, (boxes, labels) in zip(range(len(dataset)), truth):
        data = dataset[item]
        assert data['inputs'].shape == (3, 96, 96)
        found = data['data_samples'].gt_instances
        assert_close(found.bboxes.tensor, torch.tensor(boxes), rtol=0, atol=1e-3)
        assert found.labels.tolist() == labels


def test_wrappers_are_taken_off_and_sets_joined(folder):
    config = config_of(folder)
    one = copy.deepcopy(config.train_dataloader.dataset)
    config.train_dataloader.dataset = dict(
        type='RepeatDataset', times=5, dataset=dict(type='ConcatDataset', datasets=[one, one])
    )
    assert len(annotated_dataset(config, 'train')) == 12


def joined(*parts):
    return dict(type='ConcatDataset', datasets=list(parts))


def repeated(part):
    return dict(type='RepeatDataset', times=3, dataset=part)


def balanced(part):
    return dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=part)


def mixed(part):
    return dict(type='MultiImageMixDataset', dataset=part, pipeline=[dict(type='Mosaic')])


@pytest.mark.parametrize(
    ('wrap', 'length'),
    [
        (lambda one: joined(repeated(one), one), 12),
        (lambda one: joined(balanced(one), one), 12),
        (lambda one: mixed(joined(balanced(one), one)), 12),
        (lambda one: repeated(joined(one, mixed(repeated(one)), balanced(one))), 18),
        (lambda one: joined(joined(one, repeated(one)), one), 18),
        (lambda one: mixed(repeated(one)), 6),
    ],
)
def test_wrappers_at_any_depth(folder, wrap, length):
    config = config_of(folder)
    one = copy.deepcopy(config.train_dataloader.dataset)
    config.train_dataloader.dataset = wrap(one)
    config = Config(config.to_dict())  # parts are no longer one object
    dataset = annotated_dataset(config, 'train')
    assert len(dataset) == length
    assert dataset[length - 1]['inputs'].shape == (3, 96, 96)  # the pipeline of the test data
    assert len(plain_sets(config.train_dataloader.dataset)) == length // 6
    assert class_names_of(config.train_dataloader.dataset) == list(CLASSES)


def test_class_names_of_joined_sets(folder):
    one = config_of(folder).train_dataloader.dataset
    other = copy.deepcopy(one)
    other.metainfo = dict(classes=tuple(CLASSES), palette=[(i, i, i) for i in range(10)])
    section = ConfigDict(joined(repeated(one), other))
    assert class_names_of(section) == list(CLASSES)
    other.metainfo = dict(classes=tuple(CLASSES[::-1]))
    section = ConfigDict(repeated(joined(one, repeated(other))))
    with pytest.raises(ValueError, match=r'^the joined data sets name different classes, so a '):
        class_names_of(section)


def test_joined_sets_that_differ_in_colours_have_one_list_of_classes(folder):
    config = config_of(folder)
    one = config.train_dataloader.dataset
    other = copy.deepcopy(one)
    other.metainfo = dict(classes=tuple(CLASSES), palette=[(i, i, i) for i in range(10)])
    config.train_dataloader.dataset = joined(one, other)
    config = Config(config.to_dict())
    assert isinstance(annotated_dataset(config, 'train').metainfo, list)
    save_detector(config.model, folder / 'teacher.pth', class_names=list(CLASSES))
    config.dump(folder / 'config.py')
    for given in (config, config.to_dict(), folder / 'config.py', str(folder / 'config.py')):
        source = open_roi_features(given, folder / 'teacher.pth')
        assert source.class_names == [*CLASSES, 'background']
    config.train_dataloader.dataset.datasets[1].metainfo.classes = tuple(CLASSES[::-1])
    with pytest.raises(ValueError, match=r'^the joined data sets name different classes, so a '):
        open_roi_features(config, folder / 'teacher.pth')


def test_splits_that_are_not_there_or_empty(folder):
    config = config_of(folder)
    config.train_dataloader = None
    with pytest.raises(ValueError, match=r"split must be one of \['val', 'test'\].* got 'train'"):
        annotated_dataset(config, 'train')
    empty = folder / 'data/annotations/empty.json'
    content = json.loads((folder / 'data/annotations/instances_val.json').read_text())
    empty.write_text(json.dumps(dict(content, images=[], annotations=[])))
    config.val_dataloader.dataset.ann_file = 'annotations/empty.json'
    with pytest.raises(ValueError, match=r"the split 'val' has no images: .*empty.json"):
        annotated_dataset(config, 'val')


def test_data_to_read_images_by():
    config = Config(dict(val_dataloader=dict(dataset=dict(type='B')), test_dataloader=None))
    assert unaugmented_data_of(config).type == 'B'
    config.test_dataloader = dict(dataset=dict(type='A'))
    section = unaugmented_data_of(config)
    assert section.type == 'A'
    section.type = 'C'
    assert config.test_dataloader.dataset.type == 'A'  # a copy
    message = '^the config has no test_dataloader or val_dataloader to read images by$'
    with pytest.raises(ValueError, match=message):
        unaugmented_data_of(Config(dict(train_dataloader=dict(dataset=dict(type='B')))))


def test_a_pipeline_that_loads_no_image(folder):
    config = config_of(folder)
    config.test_dataloader.dataset.pipeline = [dict(type='PackDetInputs')]
    message = r"^the test pipeline loads no image: \['PackDetInputs'\]$"
    with pytest.raises(ValueError, match=message):
        annotated_dataset(config, 'val')


def test_networks_that_are_not_trained_by_themselves():
    check_plain(Config(dict(model=dict(type='FasterRCNN', teacher=None))))
    with pytest.raises(KeyError, match='the config has no model section'):
        check_plain(Config())
    message = (
        r'^DistilledGFL is a student with its teacher: give the config and the checkpoint of the '
        r'teacher \(model.teacher.config\)$'
    )
    with pytest.raises(ValueError, match=message):
        check_plain(Config(dict(model=dict(type='DistilledGFL', distill=dict(loss_a=dict())))))
