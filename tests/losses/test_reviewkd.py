"""ReviewKD: the reference's own numbers, worked cases, masks and errors; the module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.connectors import ABFConnector
from wkd_det.losses.reviewkd import hierarchical_context_loss

GOLDEN = Path(__file__).parents[1] / 'data' / 'wkd_golden.npz'
# Some hundred float64 operations.
EXACT = dict(rtol=1e-10, atol=1e-10)


def pyramids(sizes=((9, 7), (5, 4), (1, 1)), samples=2, channels=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(samples, channels, *size, generator=generator, dtype=torch.float64).to(
                dtype
            )
            for size in sizes
        ]
        for _ in range(2)
    ]


def test_values_and_gradients_are_the_references():
    data = np.load(GOLDEN)
    student, teacher = (
        [torch.from_numpy(data[f'hcl_0/{side}{level}']) for level in range(3)]
        for side in ('student', 'teacher')
    )
    for level in student:
        level.requires_grad_()
    loss = hierarchical_context_loss(student, teacher)
    assert_close(loss, torch.tensor(float(data['hcl_0/loss'])), rtol=1e-5, atol=0)
    for level, gradient in enumerate(torch.autograd.grad(loss, student)):
        expected = torch.from_numpy(data[f'hcl_0/grad_student{level}'])
        assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_fusion_and_loss_of_classifiers_are_the_reference():
    """Levels from the finest map to the pooled features; the reference counts from these on."""
    case, fields = 'reviewkd/0', golden('reviewkd/0')
    maps = {key: value for key, value in fields.items() if key.startswith(('student_', 'teacher_'))}
    own = {key: value.requires_grad_() for key, value in maps.items() if key[0] == 's'}
    student, teacher = (
        [*(maps[f'{side}_{stage}'] for stage in range(3)), maps[f'{side}_pooled'][:, :, None, None]]
        for side in ('student', 'teacher')
    )
    connector = ABFConnector(
        [level.shape[1] for level in student],
        [level.shape[1] for level in teacher],
        mid_channels=8,
        resize=True,
    ).double()
    for level in range(4):
        weights = state(case, f'abfs.{3 - level}')
        for own_name, name in (('inward', 'conv1'), ('outward', 'conv2')):
            layer = getattr(connector, own_name)[level]
            layer.conv.weight.data = weights[f'{name}.0.weight']
            layer.norm.weight.data = weights[f'{name}.1.weight']
            layer.norm.bias.data = weights[f'{name}.1.bias']
        if level < 3:
            connector.attention[level].weight.data = weights['att_conv.0.weight']
            connector.attention[level].bias.data = weights['att_conv.0.bias']
    fused = connector(student, [tuple(level.shape[-2:]) for level in teacher])
    weight = fields['weight'] * fields['epoch'] / fields['warmup']
    check(
        case,
        weight * hierarchical_context_loss(fused, teacher),
        **own,
        abf0_conv1=connector.inward[3].conv.weight,
        abf3_att=connector.attention[0].weight,
    )


def test_a_constant_difference_is_its_square_at_every_resolution():
    student, _ = pyramids()
    teacher = [level + 3 for level in student]
    assert_close(hierarchical_context_loss(student, teacher), torch.tensor(27.0).double(), **EXACT)


def test_two_by_two_pixels_by_hand():
    """MSE 1 at the pixels, one cell of mean 0: (1 + 0 / 2) / (1 + 1 / 2)."""
    teacher = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]])
    loss = hierarchical_context_loss([torch.zeros_like(teacher)], [teacher])
    assert_close(loss, torch.tensor(2 / 3))


def test_a_grid_that_is_left_out_hands_on_its_factor():
    """Three pixels high: 4 is left out, 2 counts 1/2 and 1 counts 1/4."""
    student, teacher = pyramids(sizes=((3, 3),))
    parts = [
        F.mse_loss(F.adaptive_avg_pool2d(student[0], size), F.adaptive_avg_pool2d(teacher[0], size))
        for size in (3, 2, 1)
    ]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    assert_close(hierarchical_context_loss(student, teacher), expected, **EXACT)


def test_a_full_mask_changes_nothing():
    student, teacher = pyramids()
    mask = [torch.ones_like(level[:, 0], dtype=torch.bool) for level in student]
    expected = hierarchical_context_loss(student, teacher)
    for given in (mask, [mask[0], None, mask[2]]):
        assert_close(hierarchical_context_loss(student, teacher, mask=given), expected, **EXACT)


@pytest.mark.parametrize('filling', [0.0, 1e4, float('inf'), float('nan')])
def test_padding_may_hold_anything(filling):
    """Cells of the grid that split the map evenly: the loss of the image cut out by itself."""
    student, teacher = pyramids(sizes=((8, 8),), samples=1)
    expected = hierarchical_context_loss([student[0][..., :4]], [teacher[0][..., :4]], grids=())
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    mask[..., 4:] = False
    student[0][..., 4:] = filling
    teacher[0][..., 4:] = -filling
    student[0].requires_grad_()
    loss = hierarchical_context_loss(student, teacher, grids=(), mask=[mask])
    assert_close(loss, expected, **EXACT)
    pooled = hierarchical_context_loss(student, teacher, grids=(4,), mask=[mask])
    kept = [level[0].detach()[..., :4] for level in (student, teacher)]
    cells = [F.adaptive_avg_pool2d(level, (4, 2)) for level in kept]
    assert_close(pooled, (F.mse_loss(*kept) + F.mse_loss(*cells) / 2) / 1.5, **EXACT)
    (gradient,) = torch.autograd.grad(pooled, student)
    assert gradient[..., 4:].abs().max() == 0
    assert gradient.isfinite().all()


def test_an_image_outside_the_map_counts_as_zero():
    student, teacher = pyramids(sizes=((4, 4),))
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    both = hierarchical_context_loss([student[0][:1]], [teacher[0][:1]])
    mask[1] = False
    assert_close(hierarchical_context_loss(student, teacher, mask=[mask]), both / 2, **EXACT)


def test_gradcheck():
    student, teacher = pyramids(sizes=((5, 3), (2, 2)), samples=2, channels=2)
    mask = [torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(1)) < 0.7, None]
    for level in student:
        level.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *maps: hierarchical_context_loss(maps, teacher, mask=mask), student
    )


def test_the_teacher_gets_no_gradient_and_half_precision_is_promoted():
    student, teacher = pyramids(dtype=torch.float16)
    for level in (*student, *teacher):
        level.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = hierarchical_context_loss(student, teacher)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(level.grad is None for level in teacher)
    assert all(level.grad.abs().sum() > 0 for level in student)


def test_no_images_give_zero_with_a_graph():
    student = [torch.zeros(0, 3, 4, 4, requires_grad=True)]
    for mask in (None, [torch.ones(0, 4, 4, dtype=torch.bool)]):
        loss = hierarchical_context_loss(student, [torch.zeros(0, 3, 4, 4)], mask=mask)
        assert loss == 0
        loss.backward()


def test_errors_name_the_level_and_both_values():
    student, teacher = pyramids()
    with pytest.raises(ValueError, match='same number of levels, at least 1, got 3, 2 and 3'):
        hierarchical_context_loss(student, teacher[:2])
    with pytest.raises(ValueError, match='got 0, 0 and 0'):
        hierarchical_context_loss([], [])
    with pytest.raises(ValueError, match=r'level 1: .* got \(2, 3, 5, 4\) and \(2, 3, 1, 1\)'):
        hierarchical_context_loss(student, [teacher[0], teacher[2], teacher[2]])
    with pytest.raises(ValueError, match=r'level 0: mask must be bool .* \(2, 9, 7\), got'):
        hierarchical_context_loss(student, teacher, mask=[torch.ones(2, 9, 7), None, None])
    with pytest.raises(ValueError, match=r'grids must be integers of at least 1, got \(2, 0\)'):
        hierarchical_context_loss(student, teacher, grids=(2, 0))


@pytest.mark.parametrize('options', [dict(), dict(grids=[2, 1])])
def test_module_is_the_function_times_the_weight(options):
    student, teacher = pyramids(dtype=torch.float32)
    mask = [torch.rand(level[:, 0].shape) < 0.5 for level in student]
    loss = MODELS.build(dict(type='ReviewKDLoss', **options))
    assert loss.takes == 'pyramid'
    expected = hierarchical_context_loss(student, teacher, mask=mask, **options)
    assert loss(student, teacher, mask=mask) == expected
    scaled = MODELS.build(dict(type='ReviewKDLoss', loss_weight=3.0, **options))
    assert scaled(student, teacher) == 3 * hierarchical_context_loss(student, teacher, **options)


def test_grids_are_checked_when_the_module_is_built():
    with pytest.raises(ValueError, match=r'grids must be integers of at least 1, got \(0,\)'):
        MODELS.build(dict(type='ReviewKDLoss', grids=[0]))
