"""DiffKD: values of its own code, what learns from which part, random numbers, arguments."""

from __future__ import annotations

import re

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.losses import DiffKDLogitLoss, DiffKDLoss
from wkd_det.losses.diffkd_networks import Noise
from wkd_det.ops.diffusion import inference_times, kept_shares

# The alphas are float32 in the authors' code, in which square roots were rounded as well.
RTOL = 1e-6
NAMES = [
    ('ae.', 'autoencoder.'),
    ('encoder.', 'encoder.'),
    ('decoder.0', 'decoder'),
    ('trans.', 'project.'),
    ('model.pred.', 'network.layers.'),
    ('noise_adapter.feat.0.block.', 'mixture.features.block.'),
    ('noise_adapter.feat.', 'mixture.features.'),
    ('noise_adapter.pred.', 'mixture.share.'),
    ('proj.', 'refine.'),
]
"""Names of the authors' modules and ours."""


def own_weights(case):
    weights = {}
    for key, value in state(case, 'state').items():
        if 'time_embedding' in key:
            continue
        for theirs, ours in NAMES:
            if key.startswith(theirs) or theirs in ('encoder.', 'decoder.0'):
                key = key.replace(theirs, ours)
        weights[key] = value
    return weights


def tiny(kind=DiffKDLoss, **changes):
    torch.manual_seed(0)
    widths = (
        dict(num_classes=5)
        if kind is DiffKDLogitLoss
        else dict(student_channels=3, teacher_channels=6, hidden_channels=8)
    )
    return kind(**dict(widths, **changes))


def inputs(kind=DiffKDLoss, samples=4, size=3):
    generator = torch.Generator().manual_seed(1)
    shapes = (
        [(samples, 5), (samples, 5)]
        if kind is DiffKDLogitLoss
        else [(samples, 3, size, size), (samples, 6, size, size)]
    )
    return [torch.randn(shape, generator=generator) for shape in shapes]


KINDS = pytest.mark.parametrize('kind', [DiffKDLoss, DiffKDLogitLoss])


# Values


@pytest.mark.parametrize('case', ['diffkd/0', 'diffkd/1'])
def test_of_the_authors_code(case, monkeypatch):
    given = golden(case)
    channels = [given[name].shape[1] for name in ('student', 'teacher')]
    if case == 'diffkd/0':
        loss = DiffKDLoss(
            student_channels=channels[0], teacher_channels=channels[1], hidden_channels=16
        )
    else:
        loss = DiffKDLogitLoss(num_classes=channels[0])
    loss = loss.double()
    missing, unexpected = loss.load_state_dict(own_weights(case), strict=False)
    assert (missing, unexpected) == (['network.time_embedding.weight'], [])
    table = loss.network.time_embedding.weight
    rows = given['time_embedding_index']
    with torch.no_grad():
        table[rows] = given['state.model.time_embedding.weight']
    drawn = Noise(given['noise_student'], given['timesteps'], given['noise_teacher'])
    monkeypatch.setattr(Noise, 'like', lambda maps: drawn)
    student, teacher = given['student'].requires_grad_(), given['teacher']
    pair = (student, teacher) if case == 'diffkd/0' else (student.flatten(1), teacher.flatten(1))
    value = loss(*pair)
    (gradient,) = torch.autograd.grad(value, [table], retain_graph=True)
    expected = given['grad_time_embedding']
    assert_close(gradient[rows], expected, rtol=RTOL, atol=RTOL * expected.abs().max().item())
    assert gradient.count_nonzero(dim=1).count_nonzero() == len(rows)
    check(
        case,
        value,
        rtol=RTOL,
        student=student,
        trans_weight=loss.project.weight,
        adapter_pred=loss.mixture.share.weight,
    )


def test_noise_levels():
    given = golden('diffkd/scheduler')
    assert_close(kept_shares().double(), given['alphas_cumprod'], rtol=1e-6, atol=0)
    assert inference_times(5) == given['timesteps_used'].tolist()


# Gradients


@KINDS
def test_every_weight_learns_and_the_teacher_does_not(kind):
    loss = tiny(kind)
    student, teacher = inputs(kind)
    teacher.requires_grad_()
    loss(student.requires_grad_(), teacher).backward()
    assert teacher.grad is None
    assert [name for name, p in loss.named_parameters() if p.grad is None] == []
    assert student.grad.any()


def test_target_is_not_pulled_to_the_student():
    """The encoder learns from the autoencoder alone, so its gradient knows no student."""
    loss = tiny()
    student, teacher = inputs()
    gradients = []
    for maps in (student, 3 * student):
        loss.zero_grad()
        loss(maps, teacher).backward()
        gradients.append(loss.autoencoder.encoder[0].weight.grad)
    assert torch.equal(*gradients)


# Random numbers, sizes and precision


@KINDS
def test_draws_come_from_the_random_state(kind):
    loss, pair = tiny(kind), inputs(kind)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(loss(*pair).item())
    assert values[0] == values[1] != values[2]


@KINDS
def test_a_single_sample_and_none(kind):
    loss = tiny(kind)
    student, teacher = inputs(kind, samples=1, size=1)
    assert loss(student, teacher).isfinite()
    assert loss.training
    student = student[:0].requires_grad_()
    value = loss(student, teacher[:0])
    value.backward()
    assert value == 0
    assert student.grad.shape == student.shape


@KINDS
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_precisions_and_large_values(kind, dtype):
    loss = tiny(kind, loss_weight=2)
    student, teacher = (30 * part.to(dtype) for part in inputs(kind))
    value = loss(student.requires_grad_(), teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_masked_pixels_do_not_count():
    student, teacher = inputs()
    mask = torch.ones(4, 3, 3, dtype=torch.bool)
    mask[0, :, 2] = False
    values = []
    for padding in (0.0, torch.inf):
        own, other = (maps.masked_fill(~mask[:, None], padding) for maps in (student, teacher))
        torch.manual_seed(0)
        values.append(tiny()(own.requires_grad_(), other, mask=mask))
        values[-1].backward()
        assert own.grad.isfinite().all()
    assert values[0] == values[1]
    torch.manual_seed(0)
    assert values[0] != tiny()(student, teacher)
    torch.manual_seed(0)
    whole = tiny()(student, teacher, mask=torch.ones_like(mask))
    torch.manual_seed(0)
    assert_close(whole, tiny()(student, teacher))


@KINDS
def test_weight_and_buffers(kind):
    pair, values = inputs(kind), []
    for weight in (1, 0.25):
        loss = tiny(kind, loss_weight=weight)
        torch.manual_seed(0)
        values.append(loss(*pair))
    assert_close(values[1], values[0] / 4)
    assert 'shares' not in loss.state_dict()


# Errors


def test_refused_arguments():
    for changes, message in (
        (dict(num_steps=0), 'num_steps must be an integer of at least 1, got 0'),
        (dict(num_steps=501), 'num_steps must be at most 500, got 501'),
        (dict(hidden_channels=7), 'hidden_channels must be an integer of at least 8, got 7'),
        (dict(loss_weight=-1), 'loss_weight must not be negative, got -1'),
    ):
        with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
            tiny(**changes)


def test_refused_maps():
    student, teacher = inputs()
    with pytest.raises(TypeError, match='^student must be a tensor, got '):
        tiny()([student], teacher)
    message = (
        'student and teacher must share a shape (N, C, H, W), got (4, 3, 3, 3) and (4, 6, 2, 3); '
        'only C may differ'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        tiny()(student, teacher[:, :, :2])
    with pytest.raises(ValueError, match=r'^student and teacher must share a shape \(N, C\)'):
        tiny(DiffKDLogitLoss)(student, teacher)
