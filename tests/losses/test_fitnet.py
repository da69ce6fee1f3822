"""FitNet: by hand, and the reference values of RepDistiller with its regressor.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from golden import check, golden, state
from wkd_det.connectors import RegressorConnector
from wkd_det.losses.fitnet import fitnet_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

# Two channels of two pixels.
STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_fitnet_by_hand():
    assert fitnet_loss(STUDENT, TEACHER).item() == (9 + 4 + 1 + 4) / 4 / 2


@pytest.mark.parametrize(
    'case', ['fitnet/0', 'fitnet/1', 'fitnet/2'], ids=['same', 'half', 'twice']
)
def test_twice_the_loss_behind_the_regressor_is_the_reference(case):
    fields = golden(case)
    student, teacher = fields['student'].requires_grad_(), fields['teacher']
    connector = RegressorConnector(
        student.shape[1],
        teacher.shape[1],
        student_size=student.shape[-2:],
        teacher_size=teacher.shape[-2:],
    ).double()
    weights = state(case, 'state')
    connector.load_state_dict(
        {key.replace('bn.', 'norm.'): value for key, value in weights.items()}
    )
    projected = connector(student)
    assert_close(projected.detach(), fields['projected'], **EXACT)
    loss = 2 * fitnet_loss(projected, teacher)
    check(case, loss, student=student, conv_weight=connector.conv.weight)
