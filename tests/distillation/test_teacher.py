"""The teacher: frozen, shared by copies, never saved, moved with the student."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.teacher import Teacher


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))


class Student(nn.Module):
    """Holds a teacher as a distilled model does."""

    def __init__(self, teacher):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.distiller = Distiller({}, self, {})
        self.distiller.attach(self, teacher)


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
