"""Classes of a pair: shared, missing, spelt otherwise, and the rule that training needs."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.visualization import Visualizer

from wkd_det.distillation.classes import training_class_names
from wkd_det.inspection.pairs.names import compare_classes, published, unread_names

COCO = ['person', 'traffic light', 'cell phone', 'car']


def test_equal_classes():
    classes = compare_classes(4, 4, COCO, COCO)
    assert (classes.rule, classes.refusals, classes.same_order) == ('same', {}, True)
    assert classes.shared == COCO
    assert classes.missing == classes.additional == classes.spelt_otherwise == []


def test_another_order_and_another_spelling():
    names = ['Car', 'person', 'Traffic_Light', 'cell phone']
    classes = compare_classes(4, 4, names, COCO)
    assert (classes.rule, classes.same_order) == ('same', False)
    assert classes.shared == names
    assert classes.spelt_otherwise == [('Car', 'car'), ('Traffic_Light', 'traffic light')]


def test_a_teacher_that_knows_more():
    classes = compare_classes(2, 4, ['car', 'person'], COCO)
    assert classes.rule == 'subset'
    assert classes.additional == ['traffic light', 'cell phone']
    assert 'the student has 2 classes and the teacher 4' in classes.refusals['same']


def test_names_that_the_teacher_lacks_have_near_ones():
    classes = compare_classes(2, 4, ['cellphone2', 'lorry'], COCO)
    assert classes.rule == 'any'
    assert list(classes.refusals) == ['same', 'subset']
    assert classes.missing == [('cellphone2', ['cell phone']), ('lorry', [])]
    assert classes.shared == []


def test_a_rule_of_the_config_is_not_replaced():
    classes = compare_classes(2, 4, ['car', 'person'], COCO, 'same')
    assert classes.rule == 'same'
    assert list(classes.refusals) == ['same']


def test_a_teacher_without_classes():
    assert compare_classes(2, 0, ['car', 'person'], COCO).rule == 'same'
    assert compare_classes(2, 0, None, None, 'subset').refusals == {}


def test_unknown_names_leave_the_numbers():
    assert compare_classes(4, 4, None, COCO).rule == 'same'
    assert compare_classes(3, 4, None, COCO).rule == 'any'


def test_names_are_published_inside_the_block_alone():
    Visualizer.get_instance('before').dataset_meta = dict(classes=('a',))
    with published(COCO):
        assert training_class_names() == COCO
    assert training_class_names() == ['a']
    with published(None):
        assert training_class_names() is None


def test_names_of_data_that_are_not_there():
    data = dict(type='CocoDataset', ann_file='nowhere.json', metainfo=dict(classes=('ant', 'bee')))
    config = Config(dict(train_dataloader=dict(dataset=data)))
    assert unread_names(config, detection=True) == ['ant', 'bee']
    plain = Config(
        dict(val_dataloader=dict(dataset=dict(type='ImageFolderDataset', classes=['x'])))
    )
    assert unread_names(plain, detection=False) == ['x']
    assert unread_names(Config(dict()), detection=True) is None
