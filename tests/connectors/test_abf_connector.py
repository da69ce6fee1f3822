"""ReviewKD's fusion: what it computes level by level, and the maps it must bear."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import nn
from torch.testing import assert_close

from wkd_det.connectors import ABFConnector

SIZES = [(8, 6), (4, 3), (2, 2)]


def pyramid(channels=(4, 5, 6), samples=2, sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(samples, width, *size, generator=generator)
        for width, size in zip(channels, sizes)
    ]


def connector(**changes):
    torch.manual_seed(0)
    own = dict(student_channels=(4, 5, 6), teacher_channels=(7, 8, 9), mid_channels=3)
    return ABFConnector(**dict(own, **changes))


def test_the_registry_builds_it_and_widths_become_the_teachers():
    config = dict(type='ABFConnector', student_channels=(4, 5, 6), teacher_channels=(7, 8, 9))
    results = MODELS.build(config)(pyramid(), SIZES)
    shapes = [(2, width, *size) for width, size in zip((7, 8, 9), SIZES)]
    assert [tuple(level.shape) for level in results] == shapes


def test_levels_are_fused_from_the_top_down():
    """Step by step with the layers' own parameters, in eval mode where the norm is a scaling."""
    abf = connector().eval()

    def layer(module, features):
        features = F.conv2d(features, module.conv.weight, padding=module.conv.padding)
        return module.norm.weight[:, None, None] * features / (1 + 1e-5) ** 0.5

    features = pyramid()
    fused = layer(abf.inward[2], features[2])
    expected = [layer(abf.outward[2], fused)]
    for level in (1, 0):
        own = layer(abf.inward[level], features[level])
        rows, columns = (
            torch.arange(size) * above // size
            for size, above in zip(own.shape[-2:], fused.shape[-2:])
        )
        above = fused[..., rows, :][..., columns]
        weight = abf.attention[level].weight[:, :, 0, 0]
        scores = torch.einsum('oc,nchw->nohw', weight, torch.cat([own, above], 1))
        first, second = (scores + abf.attention[level].bias[:, None, None]).sigmoid().unbind(1)
        fused = first[:, None] * own + second[:, None] * above
        expected.insert(0, layer(abf.outward[level], fused))
    for got, want in zip(abf(features), expected):
        assert_close(got, want, rtol=1e-5, atol=1e-5)  # float32 sums of some ten products


def test_convolutions_have_norms_no_bias_and_no_activation():
    abf = connector()
    layers = [*abf.inward, *abf.outward]
    assert all(isinstance(layer.norm, nn.BatchNorm2d) for layer in layers)
    assert all(layer.conv.bias is None and not layer.with_activation for layer in layers)
    assert len(abf.attention) == 2  # the top has nothing above it
    assert all(level.min() < 0 for level in abf(pyramid()))


def test_every_parameter_and_every_level_gets_a_gradient():
    abf, features = connector(), [level.requires_grad_() for level in pyramid()]
    torch.stack([level.square().mean() for level in abf(features)]).sum().backward()
    assert not [name for name, p in abf.named_parameters() if p.grad is None]
    assert all(level.grad.abs().sum() > 0 for level in features)


def test_one_level_and_single_values():
    abf = ABFConnector([4], [7], mid_channels=3)
    assert abf([torch.randn(2, 4, 3, 3)])[0].shape == (2, 7, 3, 3)
    features = pyramid(samples=1, sizes=[(4, 4), (2, 2), (1, 1)])
    results = connector()(features)
    assert all(level.isfinite().all() for level in results)
    abf = connector()
    abf(features)
    assert all(norm.training for norm in abf.modules() if isinstance(norm, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(teacher_channels=(7, 8)), 'same number of levels, got 3 and 2'),
        (dict(mid_channels=0), 'mid_channels must be an integer of at least 1, got 0'),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        connector(**arguments)
