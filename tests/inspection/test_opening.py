"""Data of a config: ground truth without augmentation, and splits that are not there."""

import copy
import json

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

from commands import ROOT
from make_mini_dataset import make_dataset
from tiny_files import truth_of
from wkd_det.inspection.opening import annotated_dataset, check_plain, unaugmented_data_of


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
