"""AT: by hand, and the reference values of RepDistiller.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import math

import pytest
import torch

from golden import check, golden
from wkd_det.losses.at import at_loss


def test_by_hand():
    """Energies (9 + 1) / 2, 16 / 2 and 4 / 2, 8 / 2: directions (5, 8) and (1, 2)."""
    student = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
    teacher = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)
    own, other = (math.hypot(*pair) for pair in ((5, 8), (1, 2)))
    expected = ((5 / own - 1 / other) ** 2 + (8 / own - 2 / other) ** 2) / 2
    assert at_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_two_stages_of_unequal_widths_are_the_reference():
    maps = golden('maps')
    own = [maps[f'student_{stage}'].requires_grad_() for stage in (0, 1)]
    loss = sum(at_loss(own[stage], maps[f'teacher_{stage}']) for stage in (0, 1))
    check('at/0', loss, student_0=own[0], student_1=own[1])


def test_maps_of_unequal_sizes_are_the_reference():
    maps = golden('maps')
    student = maps['student_0'].requires_grad_()
    check('at/resized', at_loss(student, maps['teacher_1']), student_0=student)


def test_scale_is_not_seen():
    student, teacher = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    assert at_loss(30 * student, 0.1 * teacher).item() == pytest.approx(
        at_loss(student, teacher).item(), rel=1e-12
    )
