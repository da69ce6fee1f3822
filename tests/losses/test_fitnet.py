"""FitNet, by hand.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import torch

from wkd_det.losses.fitnet import fitnet_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

# Two channels of two pixels.
STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_fitnet_by_hand():
    assert fitnet_loss(STUDENT, TEACHER).item() == (9 + 4 + 1 + 4) / 4 / 2
