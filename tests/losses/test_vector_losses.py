"""Properties that the losses of one vector per image share, as functions and as modules."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from wkd_det import registry
from wkd_det.losses.cc import cc_loss
from wkd_det.losses.ipot import ipot_loss
from wkd_det.losses.pkt import pkt_loss
from wkd_det.losses.rkd import rkd_loss
from wkd_det.losses.vectors import pixel_mean
from wkd_det.losses.wcord import lckt_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

RELATIONS = [rkd_loss, pkt_loss]
SETS = [ipot_loss, lckt_loss]
LOSSES = pytest.mark.parametrize('loss', [*RELATIONS, cc_loss, *SETS])


def vectors(samples=5, width=4, *, dtype=torch.float64):
    """Student and teacher."""
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(2, samples, width, generator=generator, dtype=torch.float64)
    both[1] = 0.5 + 1.5 * both[1]
    return both.to(dtype).unbind(0)


@pytest.mark.parametrize(
    'loss', [*RELATIONS, cc_loss, partial(ipot_loss, through_plan=True), lckt_loss]
)
def test_gradcheck(loss):
    student, teacher = vectors()
    assert torch.autograd.gradcheck(
        lambda student: loss(student, teacher), (student.requires_grad_(),)
    )


@LOSSES
def test_no_samples_give_zero_with_a_graph(loss):
    student, teacher = (both.requires_grad_() for both in vectors(0))
    value = loss(student, teacher)
    assert value.item() == 0
    value.backward()
    assert student.grad.shape == (0, 4)


@pytest.mark.parametrize('loss', [*RELATIONS, cc_loss])
def test_a_sample_alone_has_no_relation(loss):
    student, teacher = vectors(1)
    value = loss(student.requires_grad_(), teacher)
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize('loss', SETS)
def test_a_sample_alone_goes_to_its_own(loss):
    student, teacher = vectors(1)
    expected = 1 - torch.cosine_similarity(student, teacher).squeeze()
    assert_close(loss(student, teacher), expected, **EXACT)


@LOSSES
def test_the_teacher_gets_a_gradient_only_where_it_is_an_embedding(loss):
    student, teacher = (both.requires_grad_() for both in vectors())
    loss(student, teacher).backward()
    assert student.grad.abs().max() > 1e-4
    assert (teacher.grad is not None) == (loss is cc_loss)


@LOSSES
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(loss, dtype):
    student, teacher = vectors(dtype=dtype)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value.detach(), expected)
    value.backward()
    assert student.grad.dtype == dtype


@LOSSES
@pytest.mark.parametrize('kind', ['large', 'equal', 'zero', 'a column'])
def test_odd_vectors_stay_finite(loss, kind):
    student, teacher = vectors(dtype=torch.float32)
    student = dict(
        large=6e4 * student.sign(),
        equal=student[:1].expand(5, 4).clone(),
        zero=torch.zeros(5, 4),
        **{'a column': student * torch.tensor([1.0, 0, 0, 0])},
    )[kind].requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize('loss', RELATIONS)
def test_widths_may_differ_and_scale_does_not_matter(loss):
    student, teacher = vectors()
    value = loss(student, teacher)
    wider = torch.cat([student, torch.zeros(5, 3)], dim=1)
    assert_close(loss(wider, teacher), value, **EXACT)
    assert_close(loss(3 * student, 0.5 * teacher), value, rtol=1e-5, atol=0)  # the guard of PKT


@LOSSES
def test_wrong_shapes(loss):
    same = '' if loss in RELATIONS else ' and the same D'
    for student, teacher in (((3, 4), (2, 4)), ((3, 4, 1), (3, 4, 1)), ((3, 0), (3, 0))):
        with pytest.raises(ValueError, match='^student and teacher must be vectors ') as error:
            loss(torch.ones(student), torch.ones(teacher))
        assert str(error.value) == (
            f'student and teacher must be vectors (N, D) with the same N{same}, got {student} '
            f'and {teacher}'
        )
    if same:
        with pytest.raises(ValueError, match='with the same N and the same D'):
            loss(torch.ones(3, 4), torch.ones(3, 5))


# Modules

MODULES = dict(RKDLoss=rkd_loss, PKTLoss=pkt_loss, IPOTLoss=ipot_loss)


@pytest.mark.parametrize('kind', MODULES)
@pytest.mark.parametrize('masked', [False, True])
def test_modules_are_the_function_of_pixel_means_times_the_weight(kind, masked):
    maps = torch.randn(2, 4, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 2, 3, dtype=torch.bool)
    mask[0, 1] = False
    maps[:, 0, :, 1] = math.inf if masked else 0.0
    module = registry.build(dict(type=kind, loss_weight=2.5))
    assert module.takes == 'features'
    assert module.mixes_widths == (kind != 'IPOTLoss')
    assert not module.state_dict()
    means = maps.flatten(3).mean(dim=3)
    means[:, 0] = maps[:, 0, :, 0].mean(dim=2) if masked else means[:, 0]
    value = module(*maps, mask=mask if masked else None)
    assert_close(value, 2.5 * MODULES[kind](*means), rtol=1e-5, atol=1e-6)


def test_a_vector_is_a_map_of_one_pixel():
    student, teacher = vectors(dtype=torch.float32)
    maps = (both[:, :, None, None] for both in (student, teacher))
    assert torch.equal(registry.build(dict(type='RKDLoss'))(*maps), rkd_loss(student, teacher))


def test_pixel_mean():
    maps = torch.arange(12.0).view(2, 1, 2, 3)
    assert pixel_mean(maps).tolist() == [[2.5], [8.5]]
    mask = torch.zeros(2, 2, 3, dtype=torch.bool)
    mask[0, 1, 1:] = True
    assert pixel_mean(maps, mask).tolist() == [[4.5], [0.0]]
    assert pixel_mean(maps.bfloat16()).dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(pixel_mean(maps), pixel_mean(maps))


def test_pixel_mean_refuses():
    with pytest.raises(ValueError, match=r'^feature maps must have the shape .* got \(2, 3\)$'):
        pixel_mean(torch.ones(2, 3))
    with pytest.raises(TypeError, match='^maps must be a tensor, got'):
        pixel_mean([[1.0]])
    for mask in (torch.ones(2, 2, 2), torch.ones(2, 2, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r'^mask must be bool .* = \(2, 2, 2\), got'):
            pixel_mean(torch.ones(2, 1, 2, 2), mask)
