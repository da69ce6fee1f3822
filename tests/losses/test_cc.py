"""CC: by hand and against its reference.

Properties shared by all losses of vectors are tested in test_vector_losses.py.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det import registry
from wkd_det.losses.cc import CCLoss, cc_loss


def module(**changes):
    options = dict(student_channels=5, teacher_channels=7, width=4, loss_weight=1.0)
    return registry.build(dict(type='CCLoss', **dict(options, **changes)))


def maps():
    given = golden('vectors')
    return [given[name][:, :, None, None] for name in ('student', 'teacher')]


def test_by_hand():
    student = torch.tensor([[1.0, 2.0], [-1.0, 0.0], [3.0, 1.0]])
    teacher = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 5.0]])
    # Differences (1, 2), (2, 1), (0, 4).
    assert cc_loss(student, teacher).item() == ((1 * 2 + 2 * 1) + (2 * 0 + 1 * 4)) / 2


def test_the_reference():
    loss = module().double()
    loss.student_embedding.load_state_dict(state('cc/0', 'embed_s.linear'))
    loss.teacher_embedding.load_state_dict(state('cc/0', 'embed_t.linear'))
    student, teacher = maps()
    student.requires_grad_()
    check(
        'cc/0',
        loss(student, teacher),
        student=student,
        embed_s_weight=loss.student_embedding.weight,
        embed_t_weight=loss.teacher_embedding.weight,
    )


def test_both_embeddings_are_trained_and_the_network_of_the_teacher_is_not():
    loss = module()
    student, teacher = (both.float().requires_grad_() for both in maps())
    loss(student, teacher).backward()
    assert all(parameter.grad.any() for parameter in loss.parameters())
    assert student.grad.any()
    assert teacher.grad is None


def test_weight_and_precision():
    torch.manual_seed(0)
    plain = module()
    weighted = CCLoss(student_channels=5, teacher_channels=7, width=4)
    weighted.load_state_dict(plain.state_dict())
    student, teacher = (both.bfloat16() for both in maps())
    expected = plain(student.float(), teacher.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = weighted(student, teacher)
    assert value.dtype == torch.float32
    assert_close(value, 0.02 * expected)


@pytest.mark.parametrize('name', ['student_channels', 'teacher_channels', 'width'])
def test_sizes_that_are_none(name):
    with pytest.raises(ValueError, match=f'^{name} must be an integer of at least 1, got 0$'):
        module(**{name: 0})
