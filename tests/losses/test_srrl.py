"""SRRL: by hand, the reference values of its code, gradients and errors; the module."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.connectors import ConvConnector
from wkd_det.losses.srrl import SRRLLoss, srrl_loss


def given(samples=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, samples, 4, 3, 5, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    logits = torch.randn(samples, 6, generator=generator, dtype=torch.float64).to(dtype)
    return maps[0], maps[1], lambda vectors: F.linear(vectors, weight.to(vectors)), logits


def test_by_hand():
    """Means 1 against 3 in two channels; the head doubles the first: 2 against 5."""
    student = torch.tensor([[0.0, 2.0], [1.0, 1.0]]).view(1, 2, 1, 2)
    teacher = torch.full((1, 2, 2, 2), 3.0)

    def head(vectors):
        return 2 * vectors[:, :1]

    logits = torch.tensor([[5.0]])
    assert srrl_loss(student, teacher, head, logits).item() == 4 + 9
    assert srrl_loss(student, teacher, head, logits, alpha=0.5, beta=2.0).item() == 2 + 18


def test_connector_and_head_are_the_reference():
    case, fields, maps = 'srrl/0', golden('srrl/0'), golden('maps')
    weights = state(case, 'state')
    connector = ConvConnector(8, 12, act_cfg=dict(type='ReLU')).double()
    with torch.no_grad():
        connector.conv.conv.weight.copy_(weights['Connectors.0.weight'])
        connector.conv.norm.weight.copy_(weights['Connectors.1.weight'])
        connector.conv.norm.bias.copy_(weights['Connectors.1.bias'])
    student, teacher = maps['student_1'].requires_grad_(), maps['teacher_1']
    head = fields['teacher_fc_weight']
    loss = srrl_loss(
        connector(student),
        teacher,
        lambda vectors: vectors @ head.T,
        teacher.mean(dim=(2, 3)) @ head.T,
        alpha=fields['alpha'],
        beta=fields['beta'],
    )
    check(case, loss, student=student, conv_weight=connector.conv.conv.weight)


def test_only_the_means_over_the_pixels_that_count_are_compared():
    student, teacher, head, logits = given()
    expected = srrl_loss(student[..., :2], teacher[..., :2], head, logits)
    mask = torch.zeros(3, 3, 5, dtype=torch.bool)
    mask[..., :2] = True
    student[..., 2:], teacher[..., 2:] = float('inf'), float('nan')
    assert_close(srrl_loss(student, teacher, head, logits, mask=mask), expected)
    pooled = [maps[..., :2].mean(dim=(2, 3), keepdim=True) for maps in (student, teacher)]
    assert_close(srrl_loss(*pooled, head, logits), expected)


def test_gradcheck():
    student, teacher, head, logits = given()
    assert torch.autograd.gradcheck(
        lambda own: srrl_loss(own, teacher, head, logits, beta=5.0), student.requires_grad_()
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [3, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher, head, logits = given(samples, dtype)
    expected = srrl_loss(student.float(), teacher.float(), head, logits.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = srrl_loss(student.requires_grad_(), teacher, head, logits)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value == 0


def test_the_module_trains_the_student_through_a_frozen_head():
    student, teacher, _, logits = given(dtype=torch.float32)
    head = nn.Linear(4, 6).requires_grad_(False)
    loss = SRRLLoss(alpha=0.5, beta=5.0, loss_weight=2.0)
    assert loss.takes == 'features'
    assert loss.needs == ('teacher_head', 'teacher_logits')
    for tensor in (student, teacher, logits):
        tensor.requires_grad_()
    value = loss(student, teacher, teacher_head=head, teacher_logits=logits)
    expected = 2 * srrl_loss(student, teacher, head, logits, alpha=0.5, beta=5.0)
    assert torch.equal(value, expected)
    value.backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None
    assert logits.grad is None
    only_head = SRRLLoss(alpha=0.0)(student, teacher, head, logits)
    assert torch.autograd.grad(only_head, student)[0].abs().max() > 0


@pytest.mark.parametrize('name', ['alpha', 'beta'])
def test_negative_factors(name):
    message = f'{name} must not be negative, got -1'
    with pytest.raises(ValueError, match=f'^{message}$'):
        SRRLLoss(**{name: -1})
    with pytest.raises(ValueError, match=f'^{message}$'):
        srrl_loss(*given(), **{name: -1})


def test_errors_of_tensors():
    student, teacher, head, logits = given()
    message = 'teacher_head must give logits of the shape of teacher_logits, got (3, 6) and (3, 5)'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        srrl_loss(student, teacher, head, logits[:, :5])
    with pytest.raises(TypeError, match='^teacher_logits must be a tensor, got '):
        srrl_loss(student, teacher, head, logits.tolist())
    with pytest.raises(ValueError, match='student and teacher must share a shape'):
        srrl_loss(student, teacher[:, :3], head, logits)
