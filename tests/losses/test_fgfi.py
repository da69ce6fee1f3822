"""FGFI: worked by hand, masks over levels, gradients and errors; the module."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.losses.fgfi import imitation_loss


def test_three_pixels_on_two_levels_by_hand():
    """Squared distances 1 + 4, 9 and 16 over the two channels, over 2 N_p = 6."""
    teacher = [torch.tensor([[[[1.0, 9.0]], [[2.0, 9.0]]]]), torch.tensor([[[[3.0], [4.0]]]])]
    teacher[1] = torch.cat([teacher[1], torch.zeros(1, 1, 2, 1)], dim=1)
    mask = [torch.tensor([[[True, False]]]), torch.tensor([[[True], [True]]])]
    loss = imitation_loss([torch.zeros_like(level) for level in teacher], teacher, mask=mask)
    assert_close(loss, torch.tensor((1 + 4 + 9 + 16) / 6))


def test_without_a_mask_every_pixel_is_imitated():
    student = [torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 2, 2)]
    teacher = [level + 2 for level in student]
    assert_close(imitation_loss(student, teacher), torch.tensor(3 * 4 / 2))


def test_images_and_levels_share_the_count():
    """Twice the pixels with the same distance give the same loss, wherever they are."""
    student = [torch.zeros(2, 1, 2, 2)]
    few, many = torch.zeros(2, 2, 2, dtype=torch.bool), torch.ones(2, 2, 2, dtype=torch.bool)
    few[0, 0, 0] = True
    teacher = [student[0] + 1]
    assert imitation_loss(student, teacher, mask=[few]) == 0.5
    assert imitation_loss(student, teacher, mask=[many]) == 0.5


@pytest.mark.parametrize('filling', [1e4, float('inf'), float('nan')])
def test_nothing_to_imitate_gives_zero_with_a_graph(filling):
    student = [torch.full((1, 2, 3, 3), filling, requires_grad=True)]
    mask = [torch.zeros(1, 3, 3, dtype=torch.bool)]
    loss = imitation_loss(student, [torch.zeros(1, 2, 3, 3)], mask=mask)
    assert loss == 0
    loss.backward()
    assert student[0].grad.abs().max() == 0


def test_gradcheck_and_no_gradient_for_the_teacher():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, 2, 3, 3, generator=generator, dtype=torch.float64)
    mask = [torch.rand(2, 3, 3, generator=generator) < 0.5]
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: imitation_loss([s], [teacher], mask=mask), student)
    imitation_loss([student], [teacher], mask=mask).backward()
    assert teacher.grad is None


def test_half_precision_is_promoted():
    student = [torch.full((1, 1, 2, 2), 6e4, dtype=torch.float16)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = imitation_loss(student, [-level for level in student])
    assert loss == (2 * 6e4) ** 2 / 2  # float16 holds 6e4 itself, and not its square


def test_errors_are_those_of_all_pyramid_losses():
    with pytest.raises(ValueError, match='same number of levels'):
        imitation_loss([torch.zeros(1, 1, 2, 2)], [])


def test_module_is_the_function_times_the_weight():
    generator = torch.Generator().manual_seed(0)
    sizes = ((6, 5), (3, 3))
    student, teacher = (
        [torch.randn(2, 3, *size, generator=generator) for size in sizes] for _ in range(2)
    )
    mask = [torch.rand(level[:, 0].shape, generator=generator) < 0.5 for level in student]
    loss = MODELS.build(dict(type='FGFILoss'))
    assert loss.takes == 'pyramid'
    # The default of FGFI's code.
    assert loss(student, teacher, mask=mask) == 0.01 * imitation_loss(student, teacher, mask=mask)
    scaled = MODELS.build(dict(type='FGFILoss', loss_weight=3.0))
    assert scaled(student, teacher) == 3 * imitation_loss(student, teacher)
