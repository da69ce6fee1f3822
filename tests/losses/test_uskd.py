"""USKD: its authors' numbers, soft labels, where gradients go, the module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.functional import uskd_loss, zipf_distribution
from wkd_det.losses import USKDLoss

OPTIONS = ('alpha', 'beta', 'mu')


@pytest.mark.parametrize('case', ['uskd/0', 'uskd/1'])
def test_reference(case):
    shared, fields = golden('logits'), golden(case)
    student, middle = shared['student'].requires_grad_(), fields['middle'].requires_grad_()
    loss = USKDLoss(
        num_classes=10, student_channels=8, **{name: fields[name] for name in OPTIONS}
    ).double()
    loss.fc.load_state_dict(state(case, 'fc'))
    value = loss(middle[:, :, None, None], shared['label'], student)
    check(
        case, value, student=student, middle=middle,
        fc_weight=loss.fc.weight, fc_bias=loss.fc.bias,
    )  # fmt: skip


def logits(classes=5):
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(2, 4, classes, generator=generator, dtype=torch.float64)
    return (*both, torch.tensor([0, 4, 2, 2]))


def test_soft_labels_have_two_targets():
    """As the authors' code: each with its share, none where it is 0, both left out of the rest."""
    student, weak, _ = logits()
    labels = torch.zeros(4, 5, dtype=torch.float64)
    labels[:, 1], labels[:, 3] = 0.7, 0.3
    labels[3] = F.one_hot(torch.tensor(1), 5)
    pair = torch.tensor([1, 3]).expand(4, 2).clone()
    pair[3, 1] = labels[3].topk(2).indices[1]
    p, w = student.softmax(1), weak.softmax(1)
    share = labels.gather(1, pair)
    chosen = p.gather(1, pair)
    v = (share + chosen**2 - (chosen**2).mean(0)) * (share > 0)
    score = w / (1 - w.gather(1, pair).sum(1, True) + 1e-6)
    score = score + p.log() / (1 - p.log().gather(1, pair).sum(1, True) + 1e-6)
    rest = torch.stack(
        [torch.tensor([k for k in range(5) if k not in row]) for row in pair.tolist()]
    )
    law = zipf_distribution(score, pair)
    expected = 2 * -(v * chosen.log()).sum(1) - 3 * (
        law * student.gather(1, rest).log_softmax(1)
    ).sum(1)
    expected = expected - 5 * ((0.9 * labels + 0.1 / 5) * w.log()).sum(1)
    value = uskd_loss(student, weak, labels, alpha=2.0, beta=3.0, mu=5.0)
    assert_close(value, expected.mean(), rtol=1e-12, atol=0)


def test_certain_soft_labels_and_hard_ones_share_two_parts():
    """They differ in the other classes alone, from which a second target is gone."""
    student, weak, target = logits()
    certain = F.one_hot(target, 5).double()
    for part in ('alpha', 'mu'):
        options = dict(alpha=0.0, beta=0.0, mu=0.0) | {part: 1.0}
        hard, soft = (uskd_loss(student, weak, label, **options) for label in (target, certain))
        assert_close(hard, soft, rtol=1e-12, atol=0)


def test_the_weak_logits_learn_from_their_own_part_alone():
    student, weak, target = logits()
    student.requires_grad_(), weak.requires_grad_()
    (grad,) = torch.autograd.grad(
        uskd_loss(student, weak, target, mu=0.0), weak, materialize_grads=True
    )
    assert not grad.any()
    (grad,) = torch.autograd.grad(
        uskd_loss(student, weak, target, alpha=0.0, beta=0.0), student, materialize_grads=True
    )
    assert not grad.any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('scale', [1.0, 30.0, 1e3])
def test_confident_networks_stay_finite(dtype, scale):
    student, weak, target = logits()
    student, weak = ((scale * one).to(dtype).requires_grad_() for one in (student, weak))
    value = uskd_loss(student, weak, target)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert weak.grad.isfinite().all()


def test_no_samples_give_zero():
    loss = USKDLoss(num_classes=5, student_channels=3)
    logits = torch.zeros(0, 5, requires_grad=True)
    value = loss(torch.zeros(0, 3, 2, 2), torch.zeros(0, dtype=torch.long), logits)
    value.backward()
    assert value.item() == 0
    assert loss.fc.weight.grad is not None


def test_the_module_computes_in_float32_under_autocast():
    torch.manual_seed(0)
    loss = USKDLoss(num_classes=5, student_channels=3)
    student, _, target = logits()
    middle = torch.randn(4, 3, 2, 2).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(middle, target, student.bfloat16())
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(middle.float(), target, student.bfloat16()))


@pytest.mark.parametrize('part', OPTIONS)
def test_parts_can_be_scheduled(part):
    student, _, target = logits()
    torch.manual_seed(0)
    loss = USKDLoss(num_classes=5, student_channels=3).double()
    middle = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    assert part in loss.scalable
    setattr(loss, part, 0.0)
    weak = loss.fc(middle.mean(dim=(2, 3)))
    expected = uskd_loss(student, weak, target, **{part: 0.0})
    assert_close(loss(middle, target, student), expected, rtol=1e-12, atol=0)


def test_it_says_what_it_needs():
    assert USKDLoss.takes == 'features'
    assert USKDLoss.needs == ('target', 'student_logits')
    assert not USKDLoss.needs_teacher


def test_wrong_arguments():
    student, weak, target = logits()
    with pytest.raises(ValueError, match=r'must share a shape \(N, C\), got \(4, 5\) and \(4, 4\)'):
        uskd_loss(student, weak[:, 1:], target)
    with pytest.raises(TypeError, match='^weak must be a tensor, got '):
        uskd_loss(student, weak.tolist(), target)
    with pytest.raises(ValueError, match='^mu must not be negative, got -1$'):
        uskd_loss(student, weak, target, mu=-1)
    two = torch.ones(1, 2)
    message = '^USKD with soft labels needs at least 3 classes, got 2$'
    with pytest.raises(ValueError, match=message):
        uskd_loss(two, two, two / 2)
    with pytest.raises(ValueError, match='^beta must not be negative, got -1$'):
        USKDLoss(num_classes=5, student_channels=3, beta=-1)
    with pytest.raises(ValueError, match='^num_classes must be an integer of at least 1, got 0$'):
        USKDLoss(num_classes=0, student_channels=3)
