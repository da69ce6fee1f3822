"""A teacher of other classes, or of the same ones in another order."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.visualization import Visualizer

from wkd_det.costs.files import write_cost_file
from wkd_det.distillation.classes import ClassOrder
from wkd_det.testing import (
    distilled_config,
    random_batch,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

CLASSES = ['ant', 'bee', 'cat', 'dog']
L = dict(loss_wkd_l=wkd_l_term())
F = dict(loss_wkd_f=wkd_f_term(), loss_neck=wkd_f_neck_term())


@pytest.fixture
def trains_on():
    """Sets the class names that a runner would have taken from its data set."""
    visualizer = Visualizer.get_instance('names')

    def names(*classes):
        visualizer.dataset_meta = dict(classes=classes)

    return names


def build(section, terms, num_classes=4):
    torch.manual_seed(0)
    model = MODELS.build(distilled_config(section, terms, num_classes=num_classes))
    model.init_weights()
    return model.train()


def losses_of(model, num_classes=4):
    batch = random_batch([(96, 128), (64, 96)], num_classes=num_classes)
    data = model.data_preprocessor(batch, True)
    torch.manual_seed(3)
    return model.loss(data['inputs'], data['data_samples'])


def reordered(section, order, path):
    """The same teacher, its classes in another order: rows of its box head and names."""
    checkpoint = torch.load(section['checkpoint'], weights_only=True)
    state = checkpoint['state_dict']
    for name, rows in (('fc_cls', 1), ('fc_reg', 4)):
        wanted = [index * rows + i for index in order for i in range(rows)]
        for part in ('weight', 'bias'):
            values = state[f'roi_head.bbox_head.{name}.{part}']
            rest = list(range(4 * rows, len(values)))  # background
            state[f'roi_head.bbox_head.{name}.{part}'] = values[wanted + rest]
    checkpoint['meta']['dataset_meta']['classes'] = [CLASSES[index] for index in order]
    torch.save(checkpoint, path)
    return dict(section, checkpoint=str(path))


@pytest.mark.parametrize(
    'options', [{}, dict(rois='foreground', background=False)], ids=['all', 'foreground']
)
def test_another_order_changes_no_loss(teacher_section, tmp_path, trains_on, options):
    """Names are matched: logits, class costs and targets speak of the same classes."""
    trains_on(*CLASSES)
    terms = dict(loss_wkd_l=dict(wkd_l_term(), **options))
    model = build(teacher_section, terms)
    other = build(reordered(teacher_section, [2, 0, 3, 1], tmp_path / 'other.pth'), terms)
    assert model.distiller.teacher.order.is_identity
    assert other.distiller.teacher.order.indices == [1, 3, 0, 2]
    cost, other_cost = (m.distiller.terms['loss_wkd_l'].loss.cost for m in (model, other))
    torch.testing.assert_close(other_cost, cost, rtol=0, atol=1e-6)  # float32 of costs up to 1
    value, other_value = (losses_of(m)['loss_wkd_l'] for m in (model, other))
    torch.testing.assert_close(other_value, value, rtol=1e-5, atol=0)
    other.distiller.teacher.order = ClassOrder()
    assert abs(losses_of(other)['loss_wkd_l'] - value) > 1e-4 * value  # the test sees the order


def test_a_subset_of_the_teachers_classes(teacher_section, trains_on):
    """A student of two classes learns from a teacher of four, whose others are background."""
    trains_on('dog', 'bee')
    with pytest.raises(ValueError, match="student has 2 classes and the teacher 4; .*'subset'"):
        build(teacher_section, L, num_classes=2)
    model = build(dict(teacher_section, classes='subset'), L, num_classes=2)
    term = model.distiller.terms['loss_wkd_l']
    assert model.distiller.teacher.order.indices == [3, 1]
    assert term.loss.cost.shape == (3, 3)
    seen = {}
    term.loss.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    assert losses_of(model, num_classes=2)['loss_wkd_l'] > 0
    assert seen['teacher'].shape == seen['student'].shape
    assert seen['teacher'].shape[1] == 3
    assert set(seen['target'].tolist()) <= {0, 1, 2}


def test_subset_needs_names(teacher_section, trains_on):
    section = dict(teacher_section, classes='subset')
    with pytest.raises(ValueError, match="student's are unknown, the teacher's 4 names"):
        build(section, L, num_classes=2)


@pytest.mark.parametrize('rule', ['same', 'subset'])
def test_a_class_that_the_teacher_does_not_know(teacher_section, trains_on, rule):
    trains_on('ant', 'bee', 'cow', 'dog')
    with pytest.raises(ValueError, match="class 2 is 'cow' for the student and 'cat' for the tea"):
        build(dict(teacher_section, classes=rule), L)
    trains_on('ant', 'bee', 'cat', 'dog')
    assert build(dict(teacher_section, classes=rule), L).distiller.teacher.order.is_identity


def test_number_of_classes_differs(tmp_path):
    config = tiny_faster_rcnn(num_classes=3)
    save_detector(config, tmp_path / 'three.pth')
    with pytest.raises(ValueError, match='student has 4 classes and the teacher 3'):
        build(dict(config=config, checkpoint=str(tmp_path / 'three.pth')), L)


def test_checkpoint_that_names_other_than_it_has(teacher_section, tmp_path, trains_on):
    trains_on(*CLASSES)
    checkpoint = torch.load(teacher_section['checkpoint'], weights_only=True)
    checkpoint['meta']['dataset_meta']['classes'] = CLASSES[:3]
    torch.save(checkpoint, tmp_path / 'three.pth')
    section = dict(teacher_section, checkpoint=str(tmp_path / 'three.pth'))
    message = '^the teacher has 4 classes, its checkpoint or teacher.class_names names 3$'
    with pytest.raises(ValueError, match=message):
        build(section, L)
    assert build(dict(section, class_names=CLASSES), L).distiller.teacher.order.is_identity
    with pytest.raises(ValueError, match=message):
        build(dict(teacher_section, class_names=CLASSES[:3]), L)


def test_names_of_the_teacher_that_the_user_says(teacher_section, trains_on):
    trains_on('dog', 'cow')
    section = dict(teacher_section, classes='subset')
    message = (
        "^class 1 is 'cow' for the student and 'bee' for the teacher, which has no 'cow'; "
        r'teacher.class_names=\[...\] says what its classes are called$'
    )
    with pytest.raises(ValueError, match=message):
        build(section, L, num_classes=2)
    model = build(dict(section, class_names=['ant', 'bee', 'Cow', 'dog']), L, num_classes=2)
    assert model.distiller.teacher.order.indices == [3, 2]


def with_metas(section, path, *names):
    """The same teacher, trained on joined data sets."""
    checkpoint = torch.load(section['checkpoint'], weights_only=True)
    checkpoint['meta']['dataset_meta'] = [dict(classes=one, palette=one) for one in names]
    torch.save(checkpoint, path)
    return dict(section, checkpoint=str(path))


def test_student_and_teacher_of_joined_data_sets(teacher_section, tmp_path, monkeypatch):
    visualizer = Visualizer.get_instance('names')
    visualizer.dataset_meta = [dict(classes=CLASSES), dict(classes=CLASSES, palette=[])]
    hub = MessageHub.get_instance('training')
    monkeypatch.setitem(hub.runtime_info, 'dataset_meta', {})
    section = with_metas(teacher_section, tmp_path / 'joined.pth', CLASSES[::-1], CLASSES[::-1])
    model = build(section, L)
    assert model.distiller.teacher.order.indices == [3, 2, 1, 0]
    monkeypatch.setitem(hub.runtime_info, 'dataset_meta', list(visualizer.dataset_meta))
    assert losses_of(model)['loss_wkd_l'].isfinite()


def test_joined_data_sets_that_name_different_classes(teacher_section, tmp_path, trains_on):
    trains_on(*CLASSES)
    path = tmp_path / 'joined.pth'
    section = with_metas(teacher_section, path, CLASSES, CLASSES[::-1])
    rule = 'name different classes, so a label does not say which class it is: '
    both = r"\['ant', 'bee', 'cat', 'dog'\] and \['dog', 'cat', 'bee', 'ant'\]"
    message = (
        rf"^the data sets of the teacher's checkpoint {rule}{both} \(teacher.checkpoint {path}\); "
        r"teacher.class_names=\[...\] says what the teacher's classes are called$"
    )
    with pytest.raises(ValueError, match=message):
        build(section, L)
    assert build(dict(section, class_names=CLASSES), L).distiller.teacher.order.is_identity
    build(dict(section, classes='any'), F)  # does not ask for names
    Visualizer.get_current_instance().dataset_meta = [
        dict(classes=CLASSES),
        dict(classes=CLASSES[::-1]),
    ]
    with pytest.raises(ValueError, match=f'^the joined data sets {rule}{both}$'):
        build(teacher_section, L)
    build(dict(teacher_section, classes='any'), F)


def test_a_file_of_the_students_classes_is_enough(teacher_section, tmp_path, trains_on):
    """The teacher has two classes more, of which the file knows nothing."""
    trains_on('dog', 'bee')
    names = ['bee', 'background', 'dog']
    distance = torch.tensor([[0, 0.25, 0.5], [0.25, 0, 0.75], [0.5, 0.75, 0]])
    write_cost_file(tmp_path / 'cost.safetensors', distance, names)
    np.savez(tmp_path / 'text.npz', names=names, prototypes=[[1.0, 0], [0, 1], [1, 1]])
    section = dict(teacher_section, classes='subset')
    half = 1 - 0.5**0.5
    for cost, expected in [
        (
            dict(type='FileCost', path=tmp_path / 'cost.safetensors'),
            [[0, 0.5, 0.75], [0.5, 0, 0.25], [0.75, 0.25, 0]],
        ),
        (
            dict(type='PrototypeCost', path=tmp_path / 'text.npz'),
            [[0, half, half], [half, 0, 1], [half, 1, 0]],
        ),
    ]:
        term = wkd_l_term()
        term['loss'] = dict(term['loss'], cost=cost, sharpness=1.0)
        model = build(section, dict(loss_wkd_l=term), num_classes=2)
        cost = model.distiller.terms['loss_wkd_l'].loss.cost
        # Float32 of costs up to 1.
        torch.testing.assert_close(cost, 1 - (-torch.tensor(expected)).exp(), rtol=0, atol=1e-6)
        assert losses_of(model, num_classes=2)['loss_wkd_l'].isfinite()


def test_a_file_by_position_is_of_all_classes_of_the_teacher(teacher_section, tmp_path, trains_on):
    trains_on('dog', 'bee')
    upper = torch.arange(1.0, 26).view(5, 5).triu(1) / 32
    write_cost_file(tmp_path / 'cost.safetensors', upper + upper.t(), list('abcde'))
    term = wkd_l_term()
    cost = dict(type='FileCost', path=str(tmp_path / 'cost.safetensors'), by_position=True)
    term['loss'] = dict(term['loss'], cost=cost, sharpness=1.0)
    section = dict(teacher_section, classes='subset')
    model = build(section, dict(loss_wkd_l=term), num_classes=2)
    order = [3, 1, 4]
    expected = 1 - (-(upper + upper.t())[order][:, order]).exp()
    cost = model.distiller.terms['loss_wkd_l'].loss.cost
    torch.testing.assert_close(cost, expected, rtol=0, atol=1e-6)


def test_an_object_class_called_background(teacher_section, tmp_path, trains_on):
    names = ['ant', 'background', 'cat', 'dog']
    trains_on(*names)
    section = dict(teacher_section, class_names=names)
    assert build(section, L).distiller.teacher.order.is_identity  # costs of rows ask for no name
    write_cost_file(tmp_path / 'cost.safetensors', torch.ones(4, 4).fill_diagonal_(0), names)
    term = wkd_l_term()
    term['loss'] = dict(
        term['loss'], cost=dict(type='FileCost', path=str(tmp_path / 'cost.safetensors'))
    )
    message = (
        "^the teacher, background included, has more than one class called 'background': classes "
        'are matched by name, so each name must occur once$'
    )
    with pytest.raises(ValueError, match=message):
        build(section, dict(loss_wkd_l=term))
    objects = dict(term, rois='foreground', background=False)  # the real one is not compared
    assert losses_of(build(section, dict(loss_wkd_l=objects)))['loss_wkd_l'].isfinite()


def test_features_of_a_teacher_of_any_classes(teacher_section, trains_on):
    trains_on('tyre')
    section = dict(teacher_section, classes='any')
    losses = losses_of(build(section, F, num_classes=1), num_classes=1)
    assert all(losses[name] > 0 for name in F)
    with pytest.raises(ValueError, match="classes='any' compares no classes, and distill.loss_wkd"):
        build(section, dict(F, **L), num_classes=1)


def test_teachers_classes_are_left_alone_by_a_copy(teacher_section, tmp_path, trains_on):
    """A moving average shares the teacher and with it the order."""
    trains_on(*CLASSES)
    model = build(reordered(teacher_section, [1, 0, 2, 3], tmp_path / 'other.pth'), L)
    assert copy.deepcopy(model).distiller.teacher.order.indices == [1, 0, 2, 3]


@pytest.mark.parametrize('others', [['bee', 'ant', 'cat', 'dog'], ['ant', 'bee', 'cat']], ids=len)
def test_validation_data_of_other_names_do_not_decide(
    teacher_section, trains_on, monkeypatch, others
):
    """mmengine's validation loop overwrites the names that its training loop has given."""
    trains_on(*others)
    model = build(teacher_section, L)
    hub = MessageHub.get_instance('training')
    monkeypatch.setitem(hub.runtime_info, 'dataset_meta', dict(classes=tuple(CLASSES)))
    with pytest.raises(ValueError, match=r"training data have the classes \['ant', 'bee'"):
        losses_of(model)


@pytest.mark.parametrize('order', [[0, 1, 2, 3], [1, 0, 2, 3]], ids=['same', 'other'])
def test_names_that_are_told_too_late(teacher_section, monkeypatch, order):
    """mmengine's FlexibleRunner reads weights before it builds its loops."""
    monkeypatch.setattr(Visualizer, '_instance_dict', {})
    model = build(teacher_section, L)
    names = tuple(CLASSES[index] for index in order)
    hub = MessageHub.get_instance('training')
    monkeypatch.setitem(hub.runtime_info, 'dataset_meta', dict(classes=names))
    if names == tuple(CLASSES):
        assert losses_of(model)['loss_wkd_l'].isfinite()
    else:
        with pytest.raises(ValueError, match='too late to match them'):
            losses_of(model)


def test_validation_data_of_the_same_names_are_fine(teacher_section, trains_on, monkeypatch):
    trains_on(*CLASSES)
    model = build(teacher_section, L)
    hub = MessageHub.get_instance('training')
    monkeypatch.setitem(hub.runtime_info, 'dataset_meta', dict(classes=tuple(CLASSES)))
    assert losses_of(model)['loss_wkd_l'].isfinite()
