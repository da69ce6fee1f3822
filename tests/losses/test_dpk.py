"""DPK: alignment without bias, places that are drawn, what learns, arguments."""

from __future__ import annotations

import re

import pytest
import torch
from torch.testing import assert_close

from wkd_det.functional import cka
from wkd_det.losses.dpk import DPKLoss, drawn_places, unbiased_cka

SHAPES = [(3, 8), (5, 4)]


def tiny(**changes):
    torch.manual_seed(0)
    widths = dict(student_channels=(3, 5), teacher_channels=(4, 6), teacher_size=((8, 8), (4, 4)))
    options = dict(width=8, num_heads=2, max_side=4)
    return DPKLoss(**{**widths, **options, **changes})


def inputs(samples=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [
        [
            torch.randn(samples, w, s, s, generator=generator).to(dtype)
            for w, s in zip(widths, (8, 4))
        ]
        for widths in ((3, 5), (4, 6))
    ]


# Alignment


def test_alignment_of_a_shifted_and_turned_copy():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(6, 3, 2, 2, generator=generator, dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    other = 5 * maps.flatten(1) @ turned + 7
    assert_close(unbiased_cka(maps, other).item(), 1.0)


def test_alignment_of_noise_is_small_where_the_plain_one_is_not():
    maps = torch.randn(2, 32, 4096, generator=torch.Generator().manual_seed(0))
    assert cka(maps)[0, 1] > 0.9
    assert unbiased_cka(*maps) < 0.1


def test_alignment_is_the_mean_over_quadruples():
    """The definition: means over tuples of different samples."""
    generator = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    other = own + other
    count = range(5)

    def dependence(one, two):
        pairs = [one[i, j] * two[i, j] for i in count for j in count if i != j]
        triples = [
            one[i, j] * two[i, q] for i in count for j in count for q in count
            if len({i, j, q}) == 3
        ]  # fmt: skip
        fours = [
            one[i, j] * two[q, r] for i in count for j in count for q in count for r in count
            if len({i, j, q, r}) == 4
        ]  # fmt: skip
        first, second, third = (sum(values) / len(values) for values in (pairs, triples, fours))
        return first - 2 * second + third

    first, second = own @ own.T, other @ other.T
    expected = (
        dependence(first, second) / (dependence(first, first) * dependence(second, second)).sqrt()
    )
    assert_close(unbiased_cka(own, other), expected)


def test_alignment_of_samples_that_are_all_alike():
    assert unbiased_cka(torch.ones(4, 3), torch.randn(4, 3)) == 0


@pytest.mark.parametrize('counts', [(3, 3), (4, 5)])
def test_alignment_of_too_few_or_other_samples(counts):
    message = (
        'student and teacher must have the same number of samples, at least 4, got '
        f'{counts[0]} and {counts[1]}'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        unbiased_cka(*(torch.randn(count, 3) for count in counts))


# Places


@pytest.mark.parametrize(('share', 'number'), [(0.0, 0), (0.3, 4), (0.5, 6), (1.0, 12)])
def test_so_many_places_are_drawn_per_image(share, number):
    torch.manual_seed(0)
    places = drawn_places(torch.tensor(share), 50, (3, 4), torch.device('cpu'))
    assert places.shape == (50, 1, 3, 4)
    assert (places.flatten(1).sum(dim=1) == number).all()
    if 0 < number < 12:
        assert (places.sum(dim=0) > 0).all()
        assert not torch.equal(places[0], places[1])


def test_patches_divide_the_maps():
    sizes = ((56, 56), (14, 7), (5, 5), (1, 1))
    loss = DPKLoss(
        student_channels=[2] * 4, teacher_channels=[2] * 4, teacher_size=sizes, width=8, num_heads=2
    )
    assert [stage.patch for stage in loss.stages] == [(7, 7), (2, 1), (1, 1), (1, 1)]


def test_an_aligned_student_is_given_nothing_and_a_lost_one_everything():
    """What is given has no gradient to the student's projection."""
    loss = tiny()
    student, teacher = inputs()
    for share, reached in ((0.0, True), (1.0, False)):
        shares = torch.tensor(1 - share)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('wkd_det.losses.dpk.unbiased_cka', lambda own, other, s=shares: s)
            loss.zero_grad()
            loss(student, teacher).backward()
        assert loss.stages[0].project.weight.grad.any() == reached


# Training


def test_every_weight_learns_and_the_teacher_does_not():
    loss = tiny()
    student, teacher = inputs()
    for maps in (*student, *teacher):
        maps.requires_grad_()
    loss(student, teacher).backward()
    assert all(p.grad.any() for p in loss.parameters() if p.dim() > 1)
    assert all(maps.grad.any() for maps in student)
    assert all(maps.grad is None for maps in teacher)


def test_draws_come_from_the_random_state_and_the_weight_scales():
    values = []
    for seed, weight in ((0, 1.0), (0, 0.25), (1, 1.0)):
        loss = tiny(loss_weight=weight)
        torch.manual_seed(seed)
        values.append(loss(*inputs()))
    assert_close(values[1], values[0] / 4)
    assert values[0] != values[2]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_precisions_and_large_values(dtype):
    student, teacher = inputs(dtype=dtype)
    student, teacher = [30 * m for m in student], [30 * m for m in teacher]
    for maps in student:
        maps.requires_grad_()
    value = tiny()(student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(maps.grad.isfinite().all() for maps in student)


@pytest.mark.parametrize('samples', [0, 1, 3])
def test_small_batches(samples):
    student, teacher = inputs(samples)
    student[0].requires_grad_()
    value = tiny()(student, teacher)
    value.backward()
    assert value.isfinite()
    assert (value == 0) == (samples == 0)


# Errors


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(width=10, num_heads=2),
            'width must be a multiple of 4 and of num_heads, got 10 and 2',
        ),
        (
            dict(num_heads=3),
            'width must be a multiple of 4 and of num_heads, got 8 and 3',
        ),
        (
            dict(teacher_channels=(4,)),
            'student_channels, teacher_channels and teacher_size must name the same number of '
            'stages, got 2, 1 and 2',
        ),
        (
            dict(teacher_size=(None, (4, 4))),
            'DPKLoss needs the sizes of the maps, and teacher_size is not known',
        ),
        (dict(encoder_depth=0), 'encoder_depth must be an integer of at least 1, got 0'),
    ],
)
def test_refused_arguments(changes, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        tiny(**changes)


def test_other_stages():
    student, teacher = inputs()
    with pytest.raises(ValueError, match='^student and teacher must have 2 stages, got 1 and 2$'):
        tiny()(student[:1], teacher)
    with pytest.raises(ValueError, match='only C may differ$'):
        tiny()(student, teacher[::-1])
    odd = [maps[:, :, :7, :7] for maps in inputs()[0]], [maps[:, :, :7, :7] for maps in teacher]
    message = 'patches of 2 x 2 must divide the maps, got 7 x 7: teacher_size was another one'
    with pytest.raises(ValueError, match=f'^{message}$'):
        tiny()(*odd)
