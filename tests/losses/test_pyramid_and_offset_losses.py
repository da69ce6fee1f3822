"""Losses on pyramids and on offsets as modules: the function times the weight."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.functional import hierarchical_context_loss, imitation_loss, offset_loss

PYRAMID_LOSSES = [
    ('ReviewKDLoss', dict(), hierarchical_context_loss, 1.0),
    ('ReviewKDLoss', dict(grids=[2, 1]), hierarchical_context_loss, 1.0),
    ('FGFILoss', dict(), imitation_loss, 0.01),  # the default of FGFI's code
]


def pyramids():
    generator = torch.Generator().manual_seed(0)
    sizes = ((6, 5), (3, 3))
    return [[torch.randn(2, 3, *size, generator=generator) for size in sizes] for _ in range(2)]


@pytest.mark.parametrize(('kind', 'options', 'function', 'weight'), PYRAMID_LOSSES)
def test_pyramid_losses_are_the_function_times_the_weight(kind, options, function, weight):
    student, teacher = pyramids()
    mask = [torch.rand(level[:, 0].shape) < 0.5 for level in student]
    loss = MODELS.build(dict(type=kind, **options))
    assert loss.takes == 'pyramid'
    assert loss(student, teacher, mask=mask) == weight * function(
        student, teacher, mask=mask, **options
    )
    scaled = MODELS.build(dict(type=kind, loss_weight=3.0, **options))
    assert scaled(student, teacher) == 3 * function(student, teacher, **options)


def test_the_offset_loss_is_the_function_times_the_weight():
    student, teacher = torch.randn(2, 5, 8)
    assert MODELS.build(dict(type='OffsetLoss'))(student, teacher) == offset_loss(student, teacher)
    scaled = MODELS.build(dict(type='OffsetLoss', loss_weight=3.0))
    assert scaled(student, teacher) == 3 * offset_loss(student, teacher)
    assert scaled.takes == 'offsets'


@pytest.mark.parametrize('kind', ['ReviewKDLoss', 'FGFILoss', 'OffsetLoss'])
@pytest.mark.parametrize('weight', [-1.0, float('nan')])
def test_a_negative_weight_is_refused(kind, weight):
    with pytest.raises(ValueError, match='loss_weight must not be negative, got'):
        MODELS.build(dict(type=kind, loss_weight=weight))


def test_grids_are_checked_when_it_is_built():
    with pytest.raises(ValueError, match=r'grids must be integers of at least 1, got \(0,\)'):
        MODELS.build(dict(type='ReviewKDLoss', grids=[0]))
