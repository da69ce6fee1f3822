"""MGD: by hand, the reference values of its code, what is taken out; the module and its network."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.connectors import ConvConnector
from wkd_det.losses.mgd import MGDLoss, mgd_loss


def identity(maps):
    return maps


def mgd(**options):
    torch.manual_seed(0)
    return MGDLoss(**dict(dict(teacher_channels=3), **options))


def pair(samples=2, channels=3, size=(4, 5), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, samples, channels, *size, generator=generator).to(dtype).unbind(0)


def test_by_hand():
    """Two channels of one pixel; the first, at 0.1, is taken out."""
    student = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    uniform = torch.tensor([0.1, 0.5]).view(1, 2, 1, 1)
    loss = mgd_loss(
        student, torch.zeros_like(student), lambda maps: maps + 1, alpha=0.5, uniform=uniform
    )
    assert loss.item() == 0.5 * (1**2 + 4**2)


def test_the_mask_alone_is_the_reference():
    case, fields = 'mgd/mask_only', golden('mgd/mask_only')
    student = golden('maps')['student_1'].requires_grad_()
    loss = mgd_loss(
        student,
        torch.zeros_like(student),
        identity,
        alpha=1.0,
        ratio=fields['ratio'],
        uniform=fields['uniform'],
    )
    check(case, loss, student=student)


def test_alignment_and_generator_are_the_reference():
    case, fields, maps = 'mgd/0', golden('mgd/0'), golden('maps')
    weights = state(case, 'state')
    student = maps['student_1'].requires_grad_()
    connector, loss = ConvConnector(8, 12, norm_cfg=None).double(), mgd(teacher_channels=12)
    loss.double()
    with torch.no_grad():
        connector.conv.conv.weight.copy_(weights['align.weight'])
        connector.conv.conv.bias.copy_(weights['align.bias'])
        for key, value in loss.generator.state_dict(keep_vars=True).items():
            value.copy_(weights[f'generation.{key}'])
    value = mgd_loss(
        connector(student),
        maps['teacher_1'],
        loss.generator,
        alpha=fields['alpha'],
        ratio=fields['ratio'],
        uniform=fields['uniform'],
    )
    check(
        case,
        value,
        student=student,
        align_weight=connector.conv.conv.weight,
        generation_0=loss.generator[0].weight,
    )


def test_pixels_are_taken_out_of_all_channels():
    student, teacher = pair()
    uniform = torch.rand(2, 1, 4, 5)
    seen = []

    def note(maps):
        seen.append(maps)
        return maps

    mgd_loss(student, teacher, note, unit='pixel', ratio=0.65, uniform=uniform)
    assert torch.equal(seen[0], student * (uniform <= 0.35))


@pytest.mark.parametrize('unit', ['channel', 'pixel'])
@pytest.mark.parametrize('ratio', [0.0, 0.3, 1.0])
def test_the_share_that_is_taken_out(unit, ratio):
    torch.manual_seed(0)
    ones = torch.ones(40, 50, 1, 1) if unit == 'channel' else torch.ones(5, 1, 20, 20)
    loss = mgd_loss(ones, torch.zeros_like(ones), identity, alpha=1.0, ratio=ratio, unit=unit)
    kept = loss.item() * len(ones) / ones.numel()
    assert kept == pytest.approx(1 - ratio, abs=0.05 if 0 < ratio < 1 else 0)  # 2000 draws


def test_draws_come_from_torchs_random_state():
    student, teacher = pair()
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(mgd_loss(student, teacher, identity, ratio=0.5).item())
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize('filling', [math.inf, math.nan])
def test_padding_may_hold_anything(filling):
    student, teacher = pair()
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[0, :, 3:] = False
    results = []
    for fill in (0.0, filling):
        own = student.masked_fill(~mask[:, None], fill).requires_grad_()
        torch.manual_seed(0)
        loss = mgd(unit='pixel')(own, teacher.masked_fill(~mask[:, None], -fill), mask=mask)
        results.append((loss.detach(), *torch.autograd.grad(loss, own)))
    for clean, dirty in zip(*results):
        assert torch.equal(clean, dirty)
    assert results[0][1].masked_select(~mask[:, None]).abs().max() == 0


def test_gradcheck():
    student, teacher = pair(dtype=torch.float64)
    uniform = torch.rand(2, 3, 1, 1)
    generator = mgd().double().generator
    assert torch.autograd.gradcheck(
        lambda own: mgd_loss(own, teacher, generator, alpha=1.0, uniform=uniform),
        student.requires_grad_(),
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher = pair(samples, dtype=dtype)
    loss, values = mgd(), []
    for own, other, inside in ((student.float(), teacher.float(), False), (student, teacher, True)):
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=inside):
            values.append(loss(own.requires_grad_(), other))
    assert values[1].dtype == torch.float32
    assert values[1].requires_grad
    assert torch.equal(*values)
    assert samples or values[0] == 0


def test_the_module_is_the_function_times_its_weights():
    student, teacher = pair()
    loss = mgd(alpha=0.5, ratio=0.4, unit='pixel', loss_weight=3.0)
    assert (loss.takes, loss.mixes_widths) == ('features', False)
    assert list(loss.state_dict()) == [
        f'generator.{i}.{part}' for i in (0, 2) for part in ('weight', 'bias')
    ]
    torch.manual_seed(0)
    value = loss(student, teacher)
    torch.manual_seed(0)
    options = dict(alpha=0.5, ratio=0.4, unit='pixel')
    assert_close(value, 3 * mgd_loss(student, teacher, loss.generator, **options))


def test_gradient_reaches_student_and_generator_only():
    student, teacher = (maps.requires_grad_() for maps in pair())
    loss = mgd()
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0
    assert all(parameter.grad.abs().max() > 0 for parameter in loss.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ratio=1.5), 'ratio must lie in [0, 1], got 1.5'),
        (dict(ratio=None), 'ratio must lie in [0, 1], got None'),
        (dict(unit='image'), "unit must be one of ('channel', 'pixel'), got 'image'"),
        (dict(alpha=-1.0), 'alpha must not be negative, got -1.0'),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        mgd(**options)
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        mgd_loss(*pair(), identity, **options)


def test_errors_of_tensors():
    with pytest.raises(
        ValueError, match=r'^uniform must have the shape \(2, 3, 1, 1\), got \(2,\)$'
    ):
        mgd_loss(*pair(), identity, uniform=torch.rand(2))
    with pytest.raises(TypeError, match='^uniform must be a tensor, got '):
        mgd_loss(*pair(), identity, uniform=[0.5])
    with pytest.raises(ValueError, match='student and teacher must share a shape'):
        mgd()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4))
    with pytest.raises(
        ValueError, match='teacher_channels must be an integer of at least 1, got 0'
    ):
        mgd(teacher_channels=0)
