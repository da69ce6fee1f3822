"""PKD: by hand, and as its paper writes it.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from random_tensors import maps
from wkd_det.losses.pkd import pkd_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

# Two channels of two pixels.
STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_pkd_by_hand():
    # Two values of a channel correlate by 1 or -1, or not at all if they are equal.
    # First channel: both rise. Second channel: the teacher's is constant, so 0 there, and the
    # student's are +-1/sqrt 2.
    assert pkd_loss(STUDENT, TEACHER).item() == pytest.approx((0 + 0.5) / 2 / 2, abs=1e-5)


@pytest.mark.parametrize('masked', [False, True])
def test_pkd_is_one_minus_the_correlation(masked):
    student, teacher = maps(2, 3, 4, 5)
    share = 0.6 if masked else 1.0
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0)) < share
    count = int(mask.sum())
    each = [
        1 - np.corrcoef(student[:, channel][mask], teacher[:, channel][mask])[0, 1]
        for channel in range(3)
    ]
    # Images of different size weigh the same in ours; one weight per pixel makes it the plain sum.
    pixels = mask.flatten(1).sum(dim=1).double()
    value = pkd_loss(student, teacher, mask=mask, weight=pixels, avg_factor=count)
    # 1e-6 is added to the deviations.
    assert value.item() == pytest.approx((count - 1) / count * np.mean(each), rel=1e-5)


def test_pkd_does_not_see_scale_and_offset_of_channels():
    student, teacher = maps(2, 3, 4, 5)
    scale = torch.tensor([0.1, 3.0, 50.0], dtype=torch.float64).view(3, 1, 1)
    moved = pkd_loss(scale * student + 7 * scale, teacher)
    assert_close(moved, pkd_loss(student, teacher), rtol=1e-4, atol=0)  # 1e-6 / 0.1
