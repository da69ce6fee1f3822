"""NST: by hand, as its paper writes it, and the reference values of RepDistiller.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from random_tensors import maps
from wkd_det.losses.nst import nst_loss
from wkd_det.losses.wkd_feature import feature_distribution_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

# Two channels of two pixels.
STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_nst_by_hand():
    # Of length 1: student (.6, .8) and (1, 0); teacher (0, 1) and (1, 1) / sqrt 2.
    half = math.sqrt(0.5)
    own = (1 + 2 * 0.6**2 + 1) / 4
    teacher = (1 + 2 * half**2 + 1) / 4
    crossed = (0.8**2 + (1.4 * half) ** 2 + 0 + half**2) / 4
    assert nst_loss(STUDENT, TEACHER).item() == pytest.approx(own + teacher - 2 * crossed)


def test_nst_is_the_discrepancy_of_the_kernel():
    student, teacher = maps(2, 3, 4, 5)
    total = 0.0
    for own, other in zip(student.flatten(2), teacher.flatten(2)):
        own, other = F.normalize(own, dim=1), F.normalize(other, dim=1)
        for one, two, sign in ((own, own, 1), (other, other, 1), (own, other, -2)):
            total += sign * (one @ two.t()).square().mean()
    assert_close(nst_loss(student, teacher), total / 2, **EXACT)


def test_nst_is_the_spatial_second_moment_of_the_family():
    student, teacher = maps(2, 3, 4, 5)
    unit = [F.normalize(f.flatten(2), dim=2).view_as(f) for f in (student, teacher)]
    moments = dict(distribution='spatial_gram', distance='frobenius')
    expected = feature_distribution_loss(*unit, **moments)
    assert_close(nst_loss(student, teacher), expected, **EXACT)


def test_nst_does_not_see_scale():
    student, teacher = maps(2, 3, 4, 5)
    assert_close(nst_loss(50 * student, 0.1 * teacher), nst_loss(student, teacher), **EXACT)


def test_two_stages_of_unequal_widths_are_the_reference():
    maps = golden('maps')
    own = [maps[f'student_{stage}'].requires_grad_() for stage in (0, 1)]
    loss = sum(nst_loss(own[stage], maps[f'teacher_{stage}']) for stage in (0, 1))
    check('nst/0', loss, student_0=own[0], student_1=own[1])


def test_maps_of_unequal_sizes_are_the_reference():
    maps = golden('maps')
    student = maps['student_0'].requires_grad_()
    check('nst/resized', nst_loss(student, maps['teacher_1']), student_0=student)


@pytest.mark.parametrize('widths', [(3, 5), (5, 3)])
@pytest.mark.parametrize('size', [(1, 2), (3, 4)])
def test_gradcheck_of_unequal_widths(widths, size):
    student, teacher = (maps(2, width, *size)[side] for side, width in enumerate(widths))
    assert torch.autograd.gradcheck(lambda own: nst_loss(own, teacher), student.requires_grad_())
