"""FT: by hand, the reference values of RepDistiller, the two runs of the module, errors.

Properties of the function are tested in test_map_losses.py.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.ft import FTLoss, ft_loss


def ft(**options):
    torch.manual_seed(0)
    return FTLoss(**dict(dict(student_channels=3, teacher_channels=8), **options))


def pair(samples=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(samples, width, 4, 5, generator=generator).to(dtype) for width in (3, 8)]


def test_by_hand():
    """Energies (3, 4) and (1, 0) scaled to length 1."""
    student = torch.tensor([3.0, 4.0]).sqrt().view(1, 1, 1, 2)
    teacher = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert ft_loss(student, teacher).item() == pytest.approx((0.4 + 0.8) / 2)


def test_value_and_gradient_are_the_reference():
    maps = golden('maps')
    student = maps['student_1'].requires_grad_()
    check('ft/0', ft_loss(student, maps['teacher_1']), student_1=student)


def test_the_first_run_trains_the_paraphraser_alone():
    student, teacher = (maps.requires_grad_() for maps in pair())
    loss = ft(pretraining=True, loss_weight=2.0)
    value = loss(student, teacher)
    rebuilt = loss.rebuilder(loss.paraphraser(teacher))
    assert_close(value, 2 * (rebuilt - teacher).square().mean())
    value.backward()
    assert student.grad is None
    assert teacher.grad is None
    trained = {name.split('.')[0] for name, one in loss.named_parameters() if one.grad is not None}
    assert trained == {'paraphraser', 'rebuilder'}
    assert not any(one.requires_grad for one in loss.translator.parameters())


def test_the_second_run_loads_it_and_trains_student_and_translator():
    student, teacher = (maps.requires_grad_() for maps in pair())
    first, second = ft(pretraining=True), ft(loss_weight=200.0)
    second.load_state_dict(first.state_dict())
    value = second(student, teacher)
    factors = second.translator(student), second.paraphraser(teacher)
    assert [factor.shape[1] for factor in factors] == [4, 4]
    assert_close(value, 200 * ft_loss(*factors))
    value.backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None
    trained = {name.split('.')[0] for name, one in second.named_parameters() if one.requires_grad}
    assert trained == {'translator'}
    assert all(one.grad is not None for one in second.translator.parameters())


def test_layers_of_the_networks():
    loss = ft(rate=0.25)
    kinds = {
        name: [type(one) for one in getattr(loss, name)]
        for name in ('paraphraser', 'translator', 'rebuilder')
    }
    assert kinds['paraphraser'] == [nn.Conv2d, nn.LeakyReLU] * 3 == kinds['rebuilder']
    assert kinds['translator'] == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 3
    widths = [(one.in_channels, one.out_channels) for one in loss.paraphraser[::2]]
    assert widths == [(8, 8), (8, 2), (2, 2)]
    widths = [(one.in_channels, one.out_channels) for one in loss.translator[::3]]
    assert widths == [(3, 3), (3, 2), (2, 2)]
    assert all(one.negative_slope == 0.1 for one in loss.modules() if isinstance(one, nn.LeakyReLU))


@pytest.mark.parametrize('pretraining', [False, True])
@pytest.mark.parametrize('filling', [math.inf, math.nan])
def test_padding_may_hold_anything(pretraining, filling):
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[..., 4:] = False
    values = []
    for fill in (0.0, filling):
        student, teacher = (maps.masked_fill(~mask[:, None], fill) for maps in pair())
        values.append(ft(pretraining=pretraining)(student, teacher, mask=mask))
    assert torch.equal(*values)


@pytest.mark.parametrize('pretraining', [False, True])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(pretraining, dtype, samples):
    student, teacher = pair(samples, dtype)
    expected = ft(pretraining=pretraining)(student.float(), teacher.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = ft(pretraining=pretraining)(student, teacher)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value, expected)
    assert samples or value == 0


@pytest.mark.parametrize('shape', [(1, 1, 1), (0, 4, 4)], ids=['one pixel', 'no image'])
def test_batches_without_a_variance_leave_the_norms_alone(shape):
    samples, *size = shape
    loss = ft()
    value = loss(torch.randn(samples, 3, *size), torch.randn(samples, 8, *size))
    assert value.isfinite()
    norms = [one for one in loss.translator if isinstance(one, nn.BatchNorm2d)]
    assert all(one.training and not one.running_mean.any() for one in norms)


def test_errors():
    with pytest.raises(ValueError, match='^rate must be positive, got 0$'):
        ft(rate=0)
    with pytest.raises(
        ValueError, match='^student_channels must be an integer of at least 1, got 0$'
    ):
        ft(student_channels=0)
    with pytest.raises(ValueError, match='student and teacher must share a shape'):
        ft()(torch.zeros(2, 3, 4, 4), torch.zeros(3, 8, 4, 4))
