"""CAT-KD: by hand, the reference values of its code, its conventions and errors; the module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.cat_kd import CATKDLoss, cat_loss

EXACT = dict(rtol=1e-12, atol=1e-12)


def pair(samples=2, classes=3, sizes=((4, 6), (4, 6)), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(samples, classes, *size, generator=generator, dtype=torch.float64).to(dtype)
        for size in sizes
    ]


def test_by_hand():
    """One row of two cells: averages (1, 3) against (0, 0), and of length 1."""
    student = torch.tensor([[0.0, 2.0, 3.0, 3.0]]).view(1, 1, 1, 4).repeat(1, 1, 2, 1)
    teacher = torch.zeros_like(student)
    assert cat_loss(student, teacher).item() == (1 + 9) / 2
    assert cat_loss(student, teacher, normalize=True).item() == pytest.approx(1 / 4)


@pytest.mark.parametrize('case', ['cat/0', 'cat/1', 'cat/2'])
def test_values_and_gradients_are_the_references(case):
    fields = golden(case)
    student = fields['student'].requires_grad_()
    options = dict(resolution=fields['resolution'], normalize=fields['normalize'])
    check(case, cat_loss(student, fields['teacher'], **options), student=student)


@pytest.mark.parametrize('normalize', [False, True])
def test_mean_over_images_weight_and_avg_factor(normalize):
    student, teacher = pair(3, sizes=((5, 7), (4, 4)))
    each = torch.stack(
        [cat_loss(s[None], t[None], normalize=normalize) for s, t in zip(student, teacher)]
    )
    assert_close(cat_loss(student, teacher, normalize=normalize), each.mean(), **EXACT)
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    value = cat_loss(student, teacher, normalize=normalize, weight=weight, avg_factor=2.0)
    assert_close(value, (weight * each).sum() / 2, **EXACT)


def test_cells_average_the_pixels_that_count():
    student, teacher = pair(sizes=((4, 4), (4, 4)))
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    mask[:, 3:] = False  # the lower cells keep one row of two
    expected = [
        torch.stack(
            [
                F.adaptive_avg_pool2d(maps[:, :, :2], (1, 2)),
                F.adaptive_avg_pool2d(maps[:, :, 2:3], (1, 2)),
            ]
        )
        for maps in (student, teacher)
    ]
    for filling in (0.0, float('inf')):
        filled = [maps.masked_fill(~mask[:, None], filling) for maps in (student, teacher)]
        value = cat_loss(*filled, mask=mask)
        assert_close(value, (expected[0] - expected[1]).square().mean(), **EXACT)


@pytest.mark.parametrize('normalize', [False, True])
def test_gradcheck(normalize):
    student, teacher = pair()
    assert torch.autograd.gradcheck(
        lambda own: cat_loss(own, teacher, normalize=normalize), student.requires_grad_()
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher = pair(samples, dtype=dtype)
    expected = cat_loss(student.float(), teacher.float(), normalize=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = cat_loss(student.requires_grad_(), teacher, normalize=True)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value.detach(), expected)
    assert samples or value == 0


@pytest.mark.parametrize('normalize', [False, True])
def test_classes_that_are_active_nowhere_and_large_maps(normalize):
    student, teacher = pair(dtype=torch.float32)
    student = (6e4 * student).requires_grad_()
    for other in (0 * teacher, 6e4 * teacher, student.detach()):
        value = cat_loss(student * 1.0, other, normalize=normalize)
        (gradient,) = torch.autograd.grad(value, student)
        assert value.isfinite()
        assert gradient.isfinite().all()
    assert not cat_loss(0 * teacher, 0 * teacher, normalize=normalize)


def test_the_module_is_the_function_times_the_weight():
    student, teacher = pair(dtype=torch.float32)
    teacher.requires_grad_()
    loss = CATKDLoss(resolution=3, normalize=True, loss_weight=15.0)
    assert loss.takes == 'features'
    assert not loss.state_dict()
    value = loss(student.requires_grad_(), teacher)
    assert torch.equal(value, 15 * cat_loss(student, teacher, resolution=3, normalize=True))
    value.backward()
    assert teacher.grad is None


def test_errors():
    message = '^resolution must be an integer of at least 1, got 0$'
    with pytest.raises(ValueError, match=message):
        CATKDLoss(resolution=0)
    with pytest.raises(ValueError, match=message):
        cat_loss(*pair(), resolution=0)
    with pytest.raises(
        ValueError, match=r'got \(2, 3, 4, 4\) and \(2, 4, 4, 4\); only H and W may'
    ):
        cat_loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4))
