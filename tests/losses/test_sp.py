"""SP: by hand, and the reference values of RepDistiller.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from wkd_det.losses.sp import sp_loss


def test_by_hand():
    """Two samples of one pixel: similarities I and all 1, rows (1, 1) / sqrt 2."""
    half = 0.5**0.5
    student, teacher = torch.eye(2).view(2, 2, 1, 1), torch.ones(2, 1, 1, 1)
    expected = torch.tensor(((1 - half) ** 2 + half**2) / 2)
    assert_close(sp_loss(student, teacher), expected)


def test_two_stages_are_the_reference():
    maps = golden('maps')
    own = [maps[f'student_{stage}'].requires_grad_() for stage in (0, 1)]
    loss = sum(sp_loss(own[stage], maps[f'teacher_{stage}']) for stage in (0, 1))
    check('sp/0', loss, student_0=own[0], student_1=own[1])


def test_maps_of_any_size_are_compared():
    student, teacher = torch.randn(3, 4, 5, 5), torch.randn(3, 2, 1, 1)
    grams = [F.normalize(maps.flatten(1) @ maps.flatten(1).T, dim=1) for maps in (student, teacher)]
    assert_close(sp_loss(student, teacher), (grams[0] - grams[1]).square().mean())
