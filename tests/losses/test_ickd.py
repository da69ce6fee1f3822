"""ICKD-C: by hand, as its paper and code write it, and the reference values of its code.

Properties shared by all losses of maps are tested in test_map_losses.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from golden import check, golden, state
from random_tensors import maps
from wkd_det.connectors import ConvConnector
from wkd_det.losses.ickd import ickd_loss
from wkd_det.losses.wkd_feature import feature_distribution_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations

# Two channels of two pixels.
STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
TEACHER = torch.tensor([[0.0, 2.0], [2.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)


def test_ickd_by_hand():
    # Products of the channels: student [[25, 3], [3, 1]], teacher [[4, 4], [4, 8]].
    expected = (21**2 + 2 * 1**2 + 7**2) / 4
    assert ickd_loss(STUDENT, TEACHER, normalize=False).item() == pytest.approx(expected)
    rows = [np.array(row) / np.linalg.norm(row) for row in ([25, 3], [3, 1], [4, 4], [4, 8])]
    expected = (((rows[0] - rows[2]) ** 2).sum() + ((rows[1] - rows[3]) ** 2).sum()) / 2
    assert ickd_loss(STUDENT, TEACHER).item() == pytest.approx(expected)


def test_ickd_is_the_second_moment_over_the_pixels_of_the_family():
    student, teacher = maps(2, 3, 4, 5)
    moments = dict(distribution='channel_gram', distance='frobenius')
    channel = feature_distribution_loss(student, teacher, **moments)
    value = ickd_loss(student, teacher, normalize=False)
    assert_close(value, channel * (20 / 3) ** 2, **EXACT)


def test_ickd_does_not_see_scale():
    student, teacher = maps(2, 3, 4, 5)
    assert_close(ickd_loss(50 * student, 0.1 * teacher), ickd_loss(student, teacher), **EXACT)


def test_module_without_normalisation():
    loss = MODELS.build(dict(type='ICKDLoss', normalize=False))
    assert torch.equal(loss(*maps(2, 3, 4, 5)), ickd_loss(*maps(2, 3, 4, 5), normalize=False))
    assert not torch.equal(loss(*maps(2, 3, 4, 5)), ickd_loss(*maps(2, 3, 4, 5)))


def test_the_loss_behind_its_embedding_is_the_reference():
    maps, weights = golden('maps'), state('ickd/0', 'embed_s')
    student = maps['student_1'].requires_grad_()
    connector = ConvConnector(8, 12).double()
    convolution, norm = connector.conv.conv, connector.conv.norm
    with torch.no_grad():
        convolution.weight.copy_(weights['conv2d.weight'])
        norm.weight.copy_(weights['l2norm.weight'])
        norm.bias.copy_(weights['l2norm.bias'])
    loss = ickd_loss(connector(student), maps['teacher_1'])
    check('ickd/0', loss, student=student, conv_weight=convolution.weight)
