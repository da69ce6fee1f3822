"""RKD: by hand, against its reference, and as its paper writes it.

Properties shared by all losses of vectors are tested in test_vector_losses.py.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from golden import check, golden
from wkd_det import registry
from wkd_det.losses.rkd import rkd_loss

LINE = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)  # distances 1, 2, 3: mean 2
CORNER = torch.tensor([[0.0, 3.0], [0.0, 0.0], [4.0, 0.0]], dtype=torch.float64)  # 3, 4, 5: mean 4


def test_by_hand():
    # Each of the three distances stands twice among 9 entries.
    half_squares = [(1 / 2 - 3 / 4) ** 2 / 2, (2 / 2 - 4 / 4) ** 2 / 2, (3 / 2 - 5 / 4) ** 2 / 2]
    distance = rkd_loss(LINE, CORNER, distance_weight=1.0, angle_weight=0.0)
    assert distance.item() == pytest.approx(2 * sum(half_squares) / 9)
    # At a corner the cosine stands twice among 27; on the line they are 1, -1, 1.
    cosines = [(1 - 3 / 5) ** 2 / 2, (1 - 1 / 2), (1 - 4 / 5) ** 2 / 2]  # |-1 - 0| = 1
    angle = rkd_loss(LINE, CORNER, distance_weight=0.0, angle_weight=1.0)
    assert angle.item() == pytest.approx(2 * sum(cosines) / 27)
    assert_close(rkd_loss(LINE, CORNER), 25 * distance + 50 * angle)


@pytest.mark.parametrize('case', ['0', 'distance', 'angle'])
def test_the_reference(case):
    given, fields = golden('vectors'), golden(f'rkd/{case}')
    student = given['student'].requires_grad_()
    weights = {name: fields[name] for name in ('distance_weight', 'angle_weight')}
    check(f'rkd/{case}', rkd_loss(student, given['teacher'], **weights), student=student)


def test_the_module_has_the_weights_of_the_reference():
    given = golden('vectors')
    student = given['student'].requires_grad_()
    maps = (both[:, :, None, None] for both in (student, given['teacher']))
    check('rkd/0', registry.build(dict(type='RKDLoss'))(*maps), student=student)


def test_angles_one_by_one():
    given = golden('vectors')
    both = given['student'], given['teacher']
    expected = 0.0
    for j, i, k in itertools.product(range(6), repeat=3):
        if j not in (i, k):  # elsewhere the cosine is 0 in both
            ways = [(v[i] - v[j], v[k] - v[j]) for v in both]
            cosines = [a @ b / (a.norm() * b.norm()) for a, b in ways]
            expected += F.smooth_l1_loss(*cosines) / 6**3
    value = rkd_loss(*both, distance_weight=0.0, angle_weight=1.0)
    assert_close(value, expected, rtol=1e-10, atol=0)


def test_equal_samples_are_at_no_distance():
    twice = torch.cat([LINE, LINE]).requires_grad_()
    value = rkd_loss(twice, 2 * twice.detach())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-9)  # 1e-6 stands for a distance of 0
    assert twice.grad.isfinite().all()


@pytest.mark.parametrize('name', ['distance_weight', 'angle_weight'])
def test_negative_weights(name):
    message = f'^{name} must not be negative, got -1$'
    with pytest.raises(ValueError, match=message):
        rkd_loss(LINE, CORNER, **{name: -1})
    with pytest.raises(ValueError, match=message):
        registry.build(dict(type='RKDLoss', **{name: -1}))
