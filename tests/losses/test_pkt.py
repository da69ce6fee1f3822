"""PKT: by hand and against its reference.

Properties shared by all losses of vectors are tested in test_vector_losses.py.
"""

from __future__ import annotations

import math

import pytest
import torch

from golden import check, golden
from wkd_det import registry
from wkd_det.losses.pkt import pkt_loss


def test_by_hand():
    # Cosines of 0 between samples: probabilities 2/3 and 1/3; of -1: 1 and 0.
    apart = torch.tensor([[2.0], [-3.0]], dtype=torch.float64)
    value = pkt_loss(torch.eye(2, dtype=torch.float64), apart)
    assert value.item() == pytest.approx(2 * math.log(3 / 2) / 4, abs=1e-6)


def test_the_reference():
    given = golden('vectors')
    student = given['student'].requires_grad_()
    check('pkt/0', pkt_loss(student, given['teacher']), student=student)


def test_the_module_has_the_weight_of_the_reference():
    given = golden('vectors')
    maps = (given[name][:, :, None, None] for name in ('student', 'teacher'))
    value = registry.build(dict(type='PKTLoss'))(*maps)
    assert value.item() == pytest.approx(30000 * golden('pkt/0')['loss'])
