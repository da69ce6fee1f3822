"""Whole trainings on joined data sets, whose metainfo is a list."""

import copy
from pathlib import Path

import pytest
import torch

from mini_dataset.digits import CLASSES
from tiny_training import config_of, prepare, train


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('joined')
    prepare(path)
    return path


def config_on(folder, work, *classes):
    """Two steps on joined sets that name these classes, each with colours of its own."""
    config = config_of(folder, folder / work, 2, 2)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    parts = []
    for shade, names in enumerate(classes):
        part = copy.deepcopy(config.train_dataloader.dataset)
        part.metainfo = dict(classes=names, palette=[(shade, 0, 0)] * len(names))
        parts.append(part)
    parts[0] = dict(type='RepeatDataset', times=2, dataset=parts[0])
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    return config


def test_student_and_then_its_student(folder):
    runner = train(config_on(folder, 'first', CLASSES, CLASSES[:]))
    assert isinstance(runner.train_loop.dataloader.dataset.metainfo, list)
    path = Path(runner.work_dir) / 'iter_2.pth'
    assert isinstance(torch.load(path, weights_only=True)['meta']['dataset_meta'], list)
    second = config_on(folder, 'second', CLASSES[::-1], CLASSES[::-1])
    second.model.teacher = dict(config=second.model.to_dict(), checkpoint=str(path))
    runner = train(second)
    assert runner.model.distiller.teacher.order.indices == list(range(9, -1, -1))


def test_sets_that_name_different_classes(folder):
    message = '^the joined data sets name different classes, so a label does not say which class '
    with pytest.raises(ValueError, match=message):
        train(config_on(folder, 'other', CLASSES, CLASSES[::-1]))
