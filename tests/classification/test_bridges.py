"""Bridges of FCFD: layers by the sizes of the maps, activation, single values, refused sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wkd_det.classification.bridges import BridgeConnector


@pytest.mark.parametrize(
    ('size', 'other', 'kind', 'kernel', 'stride', 'bias'),
    [
        ((6, 6), (6, 6), nn.Conv2d, 3, 1, False),
        ((6, 6), (3, 3), nn.Conv2d, 3, 2, True),
        ((6, 6), (12, 12), nn.ConvTranspose2d, 4, 2, True),
        (None, (3, 3), nn.Conv2d, 3, 1, False),
    ],
)
def test_the_convolution_follows_the_sizes(size, other, kind, kernel, stride, bias):
    bridge = BridgeConnector(4, 6, student_size=size, teacher_size=other)
    convolution, norm, activation = bridge.layers
    assert type(convolution) is kind
    assert convolution.kernel_size == (kernel, kernel)
    assert convolution.stride == (stride, stride)
    assert (convolution.bias is not None) is bias
    assert norm.num_features == 6
    assert activation.negative_slope == 0.1
    found = bridge(torch.randn(2, 4, *(size or other)))
    assert found.shape == (2, 6, *other)


def test_no_activation_where_the_other_map_has_none():
    assert len(BridgeConnector(4, 6, rectified=False).layers) == 2


def test_single_values():
    for size, other in (((1, 1), (1, 1)), ((2, 2), (1, 1))):
        bridge = BridgeConnector(4, 6, student_size=size, teacher_size=other)
        assert bridge(torch.randn(1, 4, *size)).isfinite().all()


def test_other_ratios_are_refused():
    message = (
        'BridgeConnector takes maps of equal sides, or twice or half those of the other, got '
        '7 x 7 and 4 x 4'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        BridgeConnector(4, 6, student_size=(7, 7), teacher_size=(4, 4))
