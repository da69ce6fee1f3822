"""The teacher: its source, and that it is no part of the student."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.testing import distilled_config, save_detector, tiny_faster_rcnn, wkd_l_term


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))


class Student(nn.Module):
    """Holds a teacher as a distilled model does."""

    def __init__(self, teacher):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.distiller = Distiller({}, self, {})
        self.distiller.attach(self, dict(teacher=teacher))


@pytest.fixture
def teacher():
    return Teacher(network().train(), class_names=['ant', 'bee'])


def test_frozen_and_in_eval_mode(teacher):
    assert not any(module.training for module in teacher.module.modules())
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert teacher.class_names == ['ant', 'bee']
    assert Teacher(network()).class_names is None
    assert repr(teacher) == 'Teacher(Sequential, frozen)'


def test_no_part_of_the_student(teacher):
    student = Student(teacher)
    assert set(student.state_dict()) == {'layer.weight', 'layer.bias'}
    assert len(list(student.parameters())) == 2
    assert not any(module is teacher.module for module in student.modules())


def test_training_the_student_leaves_it_in_eval_mode(teacher):
    student = Student(teacher)
    for mode in (True, False, True):
        student.train(mode)
        assert not any(module.training for module in teacher.module.modules())
    student.requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())


def test_a_pass_changes_nothing_and_builds_no_graph(teacher):
    before = {key: value.clone() for key, value in teacher.module.state_dict().items()}
    images = torch.randn(2, 3, 4, 4)
    first, second = teacher.module(images), teacher.module(images)
    assert torch.equal(first, second)  # no dropout
    assert not first.requires_grad
    for key, value in teacher.module.state_dict().items():
        assert torch.equal(value, before[key])


def test_deep_copies_share_it(teacher):
    assert copy.deepcopy(teacher) is teacher
    student = Student(teacher)
    twin = copy.deepcopy(student)
    assert twin.distiller.teacher is teacher
    assert twin.layer is not student.layer


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(teacher, protocol):
    with pytest.raises(TypeError, match='a Teacher is not pickled: save the student'):
        pickle.dumps(teacher, protocol)
    with pytest.raises(TypeError, match='a Teacher is not pickled: save the student'):
        torch.save(Student(teacher), io.BytesIO())


def test_the_state_of_its_holder_is_saved_without_it(teacher):
    buffer = io.BytesIO()
    torch.save(Student(teacher).state_dict(), buffer)
    buffer.seek(0)
    assert set(torch.load(buffer, weights_only=True)) == {'layer.weight', 'layer.bias'}


@pytest.mark.parametrize(
    ('dtype', 'device'),
    [(torch.float64, 'cpu'), (torch.bfloat16, 'cpu'), (torch.float32, 'meta')],
)
def test_it_goes_where_the_batch_is(teacher, dtype, device):
    module = teacher.module
    batch = torch.ones(1, 3, 2, 2, dtype=dtype, device=device)
    teacher.follow(batch)
    assert teacher.module is module
    assert module(batch).dtype == dtype
    tensors = [*module.parameters(), module[1].running_mean]
    assert {tensor.dtype for tensor in tensors} == {dtype}
    assert {tensor.device.type for tensor in tensors} == {device}
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module.training
    assert module[1].num_batches_tracked.dtype == torch.int64  # a count stays one


def test_it_stays_where_it_is_until_a_batch_is_elsewhere(teacher):
    before = [parameter.data_ptr() for parameter in teacher.module.parameters()]
    teacher.follow(torch.ones(1))
    assert [parameter.data_ptr() for parameter in teacher.module.parameters()] == before
    Teacher(nn.ReLU()).follow(torch.ones(1))  # has nothing to move


TERMS = dict(loss_wkd_l=wkd_l_term())


def start(section):
    model = MODELS.build(distilled_config(section, TERMS))
    model.init_weights()
    return model


def test_config_from_a_path_a_name_and_a_dict_with_overrides(tmp_path):
    overrides = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
    overrides['backbone.depth'] = 34
    model = tiny_faster_rcnn()
    path = tmp_path / 'teacher.py'
    Config(dict(model=model)).dump(path)
    name = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    places = (str(path), path, name)
    contents = (model, dict(model=model), ConfigDict(model), Config(model), Config.fromfile(path))
    for config in (*places, *contents):
        source = TeacherSource(config, overrides=overrides)
        read = source.model_config()
        assert read.type == 'FasterRCNN'
        assert read.roi_head.bbox_head.num_classes == 3
        assert read.backbone.depth == 34
    assert model.roi_head.bbox_head.num_classes == 4  # the dict of the user is left alone


def test_a_config_without_a_model(tmp_path):
    (tmp_path / 'empty.py').write_text('epochs = 3')
    with pytest.raises(KeyError, match=f'teacher.config {tmp_path}/empty.py has no model section'):
        TeacherSource(tmp_path / 'empty.py').model_config()


def test_checkpoint_is_needed(teacher_section):
    with pytest.raises(ValueError, match='--cfg-options model.teacher.checkpoint=PATH'):
        start(dict(config=teacher_section['config']))


def test_wrong_path(teacher_section):
    with pytest.raises(FileNotFoundError, match='checkpoint not found: nowhere.pth'):
        start(dict(teacher_section, checkpoint='nowhere.pth'))


@pytest.mark.parametrize(
    ('section', 'error', 'message'),
    [
        (dict(cfg='x'), KeyError, "unknown keys .'cfg'.*checkpoint.*classes.*config.*overrides"),
        (dict(config='x', classes='equal'), ValueError, "one of .'same', 'subset', 'any'.*'equal'"),
        (dict(checkpoint='x'), KeyError, 'teacher.config is missing'),
        (
            dict(config='x', class_names='cat'),
            TypeError,
            "^teacher.class_names must be a list of names, got 'cat'$",
        ),
        (
            dict(config='x', class_names=[0, 1]),
            TypeError,
            r'^teacher.class_names must be a list of names, got \[0, 1\]$',
        ),
        (
            dict(config='x', class_names=4),
            TypeError,
            '^teacher.class_names must be a list of names, got 4$',
        ),
        (
            dict(config='x', checkpoint=3),
            TypeError,
            '^teacher.checkpoint must be a path or an address, got 3$',
        ),
        (dict(config=3), TypeError, 'path, a name or a dict'),
        (dict(config={}, overrides='a=1'), TypeError, "overrides must be a dict .* got 'a=1'"),
        ('teacher.py', TypeError, 'teacher must be a dict'),
    ],
)
def test_wrong_sections(section, error, message):
    with pytest.raises(error, match=message):
        TeacherSource.from_config(section)


def test_weights_of_another_architecture(teacher_section, tmp_path):
    save_detector(tiny_faster_rcnn(), tmp_path / 'narrow.pth')
    with pytest.raises(ValueError, match=r'does not fit FasterRCNN: backbone.conv1.weight \(8, 3'):
        start(dict(teacher_section, checkpoint=str(tmp_path / 'narrow.pth')))


def test_missing_and_unexpected_weights(teacher_section, tmp_path):
    checkpoint = torch.load(teacher_section['checkpoint'])
    state = checkpoint['state_dict']
    state['head.weight'] = state.pop('rpn_head.rpn_cls.weight')
    torch.save(checkpoint, tmp_path / 'edited.pth')
    with pytest.raises(
        ValueError, match='missing keys: rpn_head.rpn_cls.weight; unexpected keys: head.weight'
    ):
        start(dict(teacher_section, checkpoint=str(tmp_path / 'edited.pth')))


def test_teacher_may_be_a_distilled_student(teacher_section, tmp_path):
    model = start(teacher_section)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'distilled.pth')
    again = start(dict(config=tiny_faster_rcnn(), checkpoint=str(tmp_path / 'distilled.pth')))
    weights = again.distiller.teacher.module.state_dict()
    assert all(torch.equal(weights[key], model.state_dict()[key]) for key in weights)


def test_building_the_teacher_leaves_the_random_state(teacher_section):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    TeacherSource(**teacher_section).load()
    assert torch.equal(torch.rand(1), expected)


def test_a_distilled_model_teaches_as_the_plain_one(teacher_section, tmp_path):
    """A second generation: neither the first one's teacher nor its connectors are needed."""
    first = distilled_config(teacher_section, dict(loss_wkd_l=wkd_l_term()))
    model = MODELS.build(first)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'first.pth')
    first['teacher'] = dict(first['teacher'], config='absent.py')
    section = dict(config=first, checkpoint=str(tmp_path / 'first.pth'))
    second = MODELS.build(distilled_config(section, dict(loss_wkd_l=wkd_l_term())))
    second.init_weights()
    teacher = second.distiller.teacher.module
    assert teacher.distiller is None
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
