"""Connectors: shapes, the operations in the order they claim, and maps of a single value."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import nn
from torch.testing import assert_close

from wkd_det.connectors import (
    BottleneckConnector,
    ConvConnector,
    IdentityConnector,
    TransposedConvConnector,
    normalise_single_values,
)

# Float32 sums of some hundred products.
FLOAT32 = dict(rtol=1e-5, atol=1e-5)
BUILDERS = pytest.mark.parametrize(
    'build',
    [
        lambda: ConvConnector(4, 6),
        lambda: ConvConnector(4, 6, kernel_size=3, act_cfg=dict(type='ReLU')),
        lambda: ConvConnector(4, 6, norm_cfg=None),
        lambda: BottleneckConnector(4, 6, mid_channels=5),
    ],
    ids=['1x1', '3x3 relu', 'no norm', 'bottleneck'],
)


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize('name', ['IdentityConnector', 'ConvConnector', 'BottleneckConnector'])
def test_the_registry_builds_it_from_a_config(name):
    connector = MODELS.build(dict(type=name, student_channels=4, teacher_channels=4))
    features = torch.rand(2, 4, 5, 6)
    assert connector(features).shape == features.shape
    assert connector(features, (3, 3)).shape == features.shape  # nobody asked to resize


# What each computes


def test_identity_is_the_identity():
    features = torch.rand(2, 4, 5, 6)
    assert IdentityConnector(4, 4)(features, (7, 7)) is features
    assert not IdentityConnector(4, 4).state_dict()


@pytest.mark.parametrize('kernel_size', [1, 3, 5])
@pytest.mark.parametrize('norm', [True, False])
@pytest.mark.parametrize('activation', [True, False])
def test_convolution_then_norm_then_activation(kernel_size, norm, activation):
    options = {} if norm else dict(norm_cfg=None)
    if activation:
        options['act_cfg'] = dict(type='ReLU')
    connector = ConvConnector(4, 6, kernel_size=kernel_size, **options)
    features = torch.randn(2, 4, 7, 5)
    conv = connector.conv.conv
    assert (conv.bias is None) == norm  # a bias before a norm would be idle
    expected = F.conv2d(features, conv.weight, conv.bias, padding=kernel_size // 2)
    if norm:
        expected = F.batch_norm(expected, None, None, training=True)
    if activation:
        expected = expected.relu()
    assert_close(connector(features), expected, **FLOAT32)


def test_transposed_convolution_doubles_then_normalises_and_activates():
    connector = TransposedConvConnector(4, 6)
    features = torch.randn(2, 4, 3, 5)
    conv, norm, _ = connector.layers
    doubled = F.conv_transpose2d(features, conv.weight, stride=2, padding=1)
    assert doubled.shape == (2, 6, 6, 10)
    expected = F.batch_norm(doubled, None, None, norm.weight, norm.bias, training=True).relu()
    assert_close(connector(features, (9, 9)), expected, **FLOAT32)
    # One image of one pixel becomes four values, which have a variance.
    connector(features).square().mul(torch.rand(2, 6, 6, 10)).sum().backward()
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in connector.parameters())
    assert connector(torch.rand(1, 4, 1, 1)).shape == (1, 6, 2, 2)
    assert connector(torch.rand(0, 4, 3, 5)).shape == (0, 6, 6, 10)


def test_bottleneck_normalises_and_activates_at_the_end_only():
    connector = BottleneckConnector(4, 6, mid_channels=5)
    features = torch.randn(2, 4, 7, 5)
    weights = [m.weight for m in connector.modules() if isinstance(m, nn.Conv2d)]
    assert [tuple(w.shape) for w in weights] == [(5, 4, 1, 1), (5, 5, 3, 3), (6, 5, 1, 1)]
    assert not any(m.bias is not None for m in connector.modules() if isinstance(m, nn.Conv2d))
    expected = features
    for weight in weights:
        expected = F.conv2d(expected, weight, padding=weight.shape[-1] // 2)
    expected = F.batch_norm(expected, None, None, training=True).relu()
    assert_close(connector(features), expected, **FLOAT32)


@pytest.mark.parametrize('size', [(8, 10), (3, 3), (1, 1)])
def test_resizes_to_the_teacher_before_the_convolution(size):
    connector = ConvConnector(4, 6, kernel_size=3, norm_cfg=None, resize=True)
    features = torch.randn(2, 4, 5, 6)
    resized = F.interpolate(features, size=size, mode='bilinear', align_corners=False)
    assert_close(connector(features, size), connector.conv(resized), **FLOAT32)
    assert connector(features, torch.Size(size)).shape == (2, 6, *size)
    assert connector(features).shape == (2, 6, 5, 6)  # without a size it keeps its own
    assert torch.equal(connector(features, (5, 6)), connector(features))


@BUILDERS
def test_gradient_reaches_the_features_and_every_parameter(build):
    connector = build()
    features = torch.randn(2, 4, 5, 6, requires_grad=True)
    connector(features).square().mul(torch.rand(2, 6, 5, 6)).sum().backward()
    assert features.grad.abs().max() > 1e-6
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@BUILDERS
def test_two_connectors_do_not_share_anything(build):
    first, second = build(), build()
    shared = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not shared


def test_the_config_is_left_as_it_was():
    norm, activation = dict(type='BN', momentum=0.01), dict(type='ReLU')
    ConvConnector(4, 6, norm_cfg=norm, act_cfg=activation)
    assert norm == dict(type='BN', momentum=0.01)
    assert activation == dict(type='ReLU')
    ConvConnector(4, 6)
    assert ConvConnector(4, 6).conv.norm.momentum == 0.1  # the default is not changed either


# Maps of a single value per channel


@BUILDERS
@pytest.mark.parametrize('shape', [(1, 4, 1, 1), (0, 4, 5, 6)], ids=['one pixel', 'no image'])
def test_batches_without_a_variance_use_the_running_statistics(build, shape):
    connector = build()
    connector(torch.randn(4, 4, 5, 6))
    state = {key: value.clone() for key, value in connector.state_dict().items()}
    features = torch.randn(shape, requires_grad=True)
    out = connector(features)
    assert out.shape == (shape[0], 6, *shape[2:])
    assert torch.isfinite(out).all()
    out.sum().backward()  # also without images
    assert all(m.training for m in connector.modules())
    for key, value in connector.state_dict().items():
        assert torch.equal(value, state[key]), key
    connector.eval()
    assert torch.equal(connector(features), out)


@BUILDERS
def test_two_values_are_normalised_as_usual(build):
    connector = build()
    before = [norm.running_mean.clone() for norm in norms_of(connector)]
    connector(torch.randn(2, 4, 1, 1))
    for norm, mean in zip(norms_of(connector), before):
        assert not torch.equal(norm.running_mean, mean)


def test_frozen_norms_stay_frozen_and_all_return_after_an_error():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Dropout())
    module[0].eval()

    def fail():
        assert not module[1].training
        assert module[2].training
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), normalise_single_values(module, torch.zeros(1, 4, 1, 1)):
        fail()
    assert [m.training for m in module] == [False, True, True]


@pytest.mark.parametrize('shape', [(1, 4, 1, 2), (2, 4, 1, 1)])
def test_norms_are_left_alone_where_there_is_a_variance(shape):
    module = nn.Sequential(nn.BatchNorm2d(4))
    with normalise_single_values(module, torch.zeros(shape)):
        assert module[0].training


# Errors


def test_identity_needs_equal_widths():
    message = 'equal widths, got student_channels=4 and teacher_channels=6'
    with pytest.raises(ValueError, match=message):
        IdentityConnector(4, 6)


@pytest.mark.parametrize('kernel_size', [0, 2, -1])
def test_kernels_must_be_odd(kernel_size):
    with pytest.raises(ValueError, match=f'must be odd and positive, got {kernel_size}'):
        ConvConnector(4, 6, kernel_size=kernel_size)


def test_the_bottleneck_needs_a_width():
    with pytest.raises(ValueError, match='mid_channels must be an integer of at least 1, got 0'):
        BottleneckConnector(4, 6, mid_channels=0)


@pytest.mark.parametrize('processes', [1, 2])
def test_a_synchronised_norm_is_left_to_its_processes(monkeypatch, processes):
    """The others wait in the collective call of a training step."""
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: processes > 1)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: processes)
    norm = nn.SyncBatchNorm(4)
    with normalise_single_values(norm, torch.zeros(0, 4, 7, 7)):
        assert norm.training == (processes > 1)
    assert norm.training
