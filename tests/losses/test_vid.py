"""VID: by hand, the reference values of RepDistiller, masks and errors; the module's networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.losses.vid import VIDLoss, vid_loss
from wkd_det.ops.maps import pooled


def vid(**options):
    torch.manual_seed(0)
    return VIDLoss(**dict(dict(student_channels=(2, 3), teacher_channels=(4, 5)), **options))


def pair(dtype=torch.float32, samples=2, sizes=((6, 4), (3, 2)), teacher_sizes=None):
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(samples, width, *size, generator=generator).to(dtype)
            for width, size in zip(widths, own)
        ]
        for widths, own in (((2, 3), sizes), ((4, 5), teacher_sizes or sizes))
    ]


def test_by_hand():
    """Variance log 2 + eps: a difference of 2 in one channel, none in the other."""
    student = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    teacher = torch.tensor([2.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    variance = math.log(2) + 0.5
    expected = (4 / variance + 2 * math.log(variance)) / 4
    value = vid_loss(student, teacher, torch.zeros(2), eps=0.5)
    assert value.item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize('stage', [0, 1])
def test_network_and_variance_of_a_stage_are_the_reference(stage):
    case, maps = f'vid/{stage}', golden('maps')
    fields, weights = golden(case), state(case, 'state')
    student, teacher = maps[f'student_{stage}'].requires_grad_(), maps[f'teacher_{stage}']
    loss = VIDLoss(
        student_channels=[student.shape[1]],
        teacher_channels=[teacher.shape[1]],
        init_pred_var=fields['init_pred_var'],
        eps=fields['eps'],
    )
    start = weights.pop('log_scale')
    assert_close(loss.log_scales[0].double(), start, rtol=1e-6, atol=0)  # float32
    loss.double()
    loss.log_scales[0].data = start
    loss.regressors[0].load_state_dict(
        {key.removeprefix('regressor.'): value for key, value in weights.items()}
    )
    check(
        case,
        loss([student], [teacher]),
        student=student,
        log_scale=loss.log_scales[0],
        regressor_0=loss.regressors[0][0].weight,
    )


def test_stages_are_summed_and_the_module_is_the_function_times_the_weight():
    student, teacher = pair()
    loss = vid(loss_weight=3.0)
    assert (loss.takes, loss.mixes_widths) == ('pyramid', True)
    each = [
        vid_loss(net(own), other, scale)
        for own, other, net, scale in zip(student, teacher, loss.regressors, loss.log_scales)
    ]
    assert_close(loss(student, teacher), 3 * (each[0] + each[1]))


@pytest.mark.parametrize('larger', ['student', 'teacher'])
def test_the_larger_map_is_averaged_before_the_network(larger):
    sizes = ((6, 4), (4, 4)), ((3, 2), (2, 2))
    student, teacher = pair(
        sizes=sizes[larger == 'teacher'], teacher_sizes=sizes[larger == 'student']
    )
    small = [
        [pooled(level, size) for level, size in zip(maps, sizes[1])] for maps in (student, teacher)
    ]
    assert_close(vid()(student, teacher), vid()(*small))


def test_only_pixels_of_the_image_count():
    student, teacher = pair()
    loss, results = vid(), []
    mask = [torch.ones(2, 6, 4, dtype=torch.bool), None]
    mask[0][:, 4:] = False
    for filling in (0.0, math.inf):
        own, other = (
            maps[0].masked_fill(~mask[0][:, None], filling) for maps in (student, teacher)
        )
        results.append(loss([own, student[1]], [other, teacher[1]], mask=mask))
    cut = loss([student[0][:, :, :4], student[1]], [teacher[0][:, :, :4], teacher[1]])
    assert torch.equal(*results)
    assert_close(results[0], cut)


def test_gradcheck():
    student, teacher = (torch.randn(2, 3, 2, 2, dtype=torch.float64) for _ in range(2))
    scale = torch.randn(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda own, scale: vid_loss(own, teacher, scale),
        (student.requires_grad_(), scale.requires_grad_()),
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [2, 0])
def test_half_precision_and_autocast_compute_in_float32(dtype, samples):
    student, teacher = pair(dtype, samples)
    expected = vid()(*([level.float() for level in maps] for maps in (student, teacher)))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = vid()(student, teacher)
    assert value.dtype == torch.float32
    assert value.requires_grad
    assert torch.equal(value, expected)
    assert samples or value == 0


@pytest.mark.parametrize('train_scales', [True, False])
def test_gradient_reaches_students_and_networks(train_scales):
    student, teacher = ([level.requires_grad_() for level in maps] for maps in pair())
    loss = vid(train_scales=train_scales)
    loss(student, teacher).backward()
    assert all(level.grad is None for level in teacher)
    assert all(level.grad.abs().max() > 0 for level in student)
    trained = {name for name, one in loss.named_parameters() if one.grad is not None}
    assert len(trained) == (8 if train_scales else 6)
    assert {'log_scales.0', 'log_scales.1'} & trained == (
        {'log_scales.0', 'log_scales.1'} if train_scales else set()
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(init_pred_var=1e-6), 'init_pred_var must be above eps, got 1e-06 and 1e-05'),
        (dict(eps=0), 'eps must be positive, got 0'),
        (
            dict(teacher_channels=(4,)),
            'student_channels and teacher_channels must name the same number of stages, '
            'got 2 and 1',
        ),
        (dict(student_channels=(2, 0)), 'student_channels must be an integer of at least 1, got 0'),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        vid(**options)


def test_errors_of_tensors():
    student, teacher = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    with pytest.raises(
        ValueError, match='^log_scale must have one number for each of 3 channels, '
    ):
        vid_loss(student, teacher, torch.zeros(2))
    with pytest.raises(TypeError, match='^log_scale must be a tensor'):
        vid_loss(student, teacher, [0.0] * 3)
    with pytest.raises(ValueError, match='must have the same number of levels'):
        vid()([student], [])
