"""Connectors: operations in the order they claim, single values, what a foreign module needs."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import nn
from torch.testing import assert_close

from wkd_det import registry
from wkd_det.connectors import (
    ABFConnector,
    BottleneckConnector,
    Connector,
    ConvConnector,
    IdentityConnector,
    RegressorConnector,
    TransposedConvConnector,
    adopt,
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
        lambda: RegressorConnector(4, 6),
    ],
    ids=['1x1', '3x3 relu', 'no norm', 'bottleneck', 'regressor'],
)
SIZES = [(8, 6), (4, 3), (2, 2)]


def pyramid(channels=(4, 5, 6), samples=2, sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(samples, width, *size, generator=generator)
        for width, size in zip(channels, sizes)
    ]


def abf_connector(**changes):
    torch.manual_seed(0)
    own = dict(student_channels=(4, 5, 6), teacher_channels=(7, 8, 9), mid_channels=3)
    return ABFConnector(**dict(own, **changes))


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    'name',
    ['IdentityConnector', 'ConvConnector', 'BottleneckConnector', 'RegressorConnector'],
)
def test_the_registry_builds_it_from_a_config(name):
    connector = MODELS.build(dict(type=name, student_channels=4, teacher_channels=4))
    features = torch.rand(2, 4, 5, 6)
    assert connector(features).shape == features.shape
    assert connector(features, (3, 3)).shape == features.shape  # nobody asked to resize


def test_the_registry_builds_the_one_that_spans_levels():
    config = dict(type='ABFConnector', student_channels=(4, 5, 6), teacher_channels=(7, 8, 9))
    results = MODELS.build(config)(pyramid(), SIZES)
    shapes = [(2, width, *size) for width, size in zip((7, 8, 9), SIZES)]
    assert [tuple(level.shape) for level in results] == shapes


# Operations of each


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


def test_a_linear_layer_at_each_position():
    connector = ConvConnector(4, 6, norm_cfg=None)
    conv = connector.conv.conv
    features = torch.rand(2, 4, 3, 5)
    linear = F.linear(features.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias)
    assert torch.allclose(connector(features), linear.permute(0, 3, 1, 2), atol=1e-6)


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


@pytest.mark.parametrize(
    ('own', 'other', 'kernel', 'stride'),
    [
        ((8, 6), (8, 6), (1, 1), 1),
        ((8, 6), (4, 3), (3, 3), 2),
        ((4, 3), (8, 6), (4, 4), 2),
        ((8, 7), (7, 5), (2, 3), 1),
        ((8, 7), (1, 7), (8, 1), 1),
    ],
)
def test_the_regressor_meets_the_size_by_stride_or_kernel(own, other, kernel, stride):
    connector = RegressorConnector(4, 6, student_size=own, teacher_size=other)
    conv, features = connector.conv, torch.randn(2, 4, *own)
    assert conv.weight.shape[2:] == kernel
    assert conv.stride == (stride, stride)
    assert conv.bias is not None
    run = F.conv_transpose2d if own[0] < other[0] else F.conv2d
    expected = run(features, conv.weight, conv.bias, stride=stride, padding=conv.padding)
    expected = F.batch_norm(expected, None, None, training=True)
    assert_close(connector(features), expected.relu(), **FLOAT32)
    assert connector(features).shape == (2, 6, *other)
    connector.activate = nn.Identity()
    assert_close(connector(features), expected, **FLOAT32)
    plain = RegressorConnector(4, 6, student_size=own, teacher_size=other, activate=False)
    assert plain(features).min() < 0


@pytest.mark.parametrize('sizes', [dict(), dict(student_size=(8, 8)), dict(teacher_size=(8, 8))])
def test_the_regressor_keeps_a_size_that_is_unknown(sizes):
    assert RegressorConnector(4, 6, **sizes)(torch.randn(2, 4, 5, 3)).shape == (2, 6, 5, 3)


def test_sizes_that_the_regressor_cannot_meet():
    message = (
        'RegressorConnector goes to the same, half, double or a smaller size, got '
        'student_size=(4, 4) and teacher_size=(7, 7): use ConvConnector with resize=True'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        RegressorConnector(4, 6, student_size=(4, 4), teacher_size=[7, 7])


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


def test_levels_are_fused_from_the_top_down():
    """Step by step with the layers' own parameters, in eval mode where the norm is a scaling."""
    abf = abf_connector().eval()

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


@pytest.mark.parametrize('sizes', [[(16, 12), (8, 6), (1, 1)], [(5, 3), (4, 3), (3, 3)]])
def test_fused_levels_are_resized_before_the_last_convolution_and_go_down_so(sizes):
    abf, plain = abf_connector(resize=True).eval(), abf_connector().eval()
    assert abf.resizes
    results = abf(pyramid(), sizes)
    assert [tuple(level.shape[-2:]) for level in results] == sizes
    fused = F.interpolate(abf.inward[2](pyramid()[2]), size=sizes[2], mode='nearest')
    assert_close(results[2], abf.outward[2](fused))
    own = abf.inward[1](pyramid()[1])
    above = F.interpolate(fused, size=own.shape[-2:], mode='nearest')
    first, second = abf.attention[1](torch.cat([own, above], 1)).sigmoid().unbind(1)
    fused = F.interpolate(
        first[:, None] * own + second[:, None] * above, size=sizes[1], mode='nearest'
    )
    assert_close(results[1], abf.outward[1](fused))
    for one, other in (
        (abf(pyramid()), plain(pyramid())),
        (abf(pyramid(), SIZES), plain(pyramid())),
    ):
        assert all(torch.equal(*levels) for levels in zip(one, other))


def test_convolutions_of_the_fusion_have_norms_no_bias_and_no_activation():
    abf = abf_connector()
    layers = [*abf.inward, *abf.outward]
    assert all(isinstance(layer.norm, nn.BatchNorm2d) for layer in layers)
    assert all(layer.conv.bias is None and not layer.with_activation for layer in layers)
    assert len(abf.attention) == 2  # the top has nothing above it
    assert all(level.min() < 0 for level in abf(pyramid()))


def test_gradient_reaches_every_level_and_every_parameter_of_the_fusion():
    abf, features = abf_connector(), [level.requires_grad_() for level in pyramid()]
    torch.stack([level.square().mean() for level in abf(features)]).sum().backward()
    assert not [name for name, p in abf.named_parameters() if p.grad is None]
    assert all(level.grad.abs().sum() > 0 for level in features)


def test_fusion_of_one_level():
    abf = ABFConnector([4], [7], mid_channels=3)
    assert abf([torch.randn(2, 4, 3, 3)])[0].shape == (2, 7, 3, 3)


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


def test_fusion_of_single_values():
    features = pyramid(samples=1, sizes=[(4, 4), (2, 2), (1, 1)])
    results = abf_connector()(features)
    assert all(level.isfinite().all() for level in results)
    abf = abf_connector()
    abf(features)
    assert all(norm.training for norm in norms_of(abf))


# The interface


@pytest.mark.parametrize('name', registry.CONNECTORS)
def test_every_connector_derives_from_the_base(name):
    kind = registry.find(name)
    assert issubclass(kind, Connector)
    assert kind.spans_levels is (name == 'ABFConnector')
    assert kind.resizes is False


def test_only_one_that_was_asked_to_resize_does():
    assert ConvConnector(4, 4, resize=True).resizes is True
    assert ConvConnector(4, 4).resizes is False


def test_the_base_connects_nothing():
    with pytest.raises(NotImplementedError):
        Connector()(torch.rand(1, 4, 2, 2))


class Foreign(nn.Conv2d):
    """Written before there was a base."""

    def forward(self, features, size=None):
        return super().forward(features)


def test_a_foreign_module_is_adopted_with_one_warning():
    torch.manual_seed(0)
    foreign = Foreign(4, 6, 1)
    keys, features = list(foreign.state_dict()), torch.rand(2, 4, 3, 3)
    expected = foreign(features)
    message = (
        'Foreign is no wkd_det.connectors.Connector: derive it from that class; plain modules '
        'work until wkd_det 0.3'
    )
    with pytest.warns(FutureWarning, match=f'^{re.escape(message)}$') as caught:
        adopted = adopt(foreign)
    assert len(caught) == 1
    assert adopted is foreign
    assert (adopted.spans_levels, adopted.resizes) == (False, False)
    assert list(adopted.state_dict()) == keys
    assert torch.equal(adopted(features, (5, 5)), expected)


def test_a_foreign_module_keeps_the_members_that_it_has():
    foreign = Foreign(4, 6, 1)
    foreign.resizes = True
    with pytest.warns(FutureWarning, match='^Foreign is no wkd_det.connectors.Connector: '):
        adopt(foreign)
    assert (foreign.spans_levels, foreign.resizes) == (False, True)


def test_connectors_are_adopted_silently_and_unchanged():
    connector = ConvConnector(4, 6, resize=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert adopt(connector) is connector
    assert connector.resizes is True


# Errors


def test_identity_needs_equal_widths():
    message = 'IdentityConnector needs equal widths, got student_channels=4 and teacher_channels=6'
    with pytest.raises(ValueError, match=f'^{message}$'):
        IdentityConnector(4, 6)


@pytest.mark.parametrize('kernel_size', [0, 2, -1, '3', 3.0, True, None])
def test_kernels_must_be_odd(kernel_size):
    message = f'kernel_size must be odd and positive, got {kernel_size!r}'
    with pytest.raises(ValueError, match=f'^{message}$'):
        ConvConnector(4, 6, kernel_size=kernel_size)


@pytest.mark.parametrize('name', ['norm_cfg', 'act_cfg'])
@pytest.mark.parametrize('config', ['BN', {}, dict(type=3), ['BN'], True])
def test_layers_are_named_in_a_dict(name, config):
    message = f'{name} must be a dict with a type, or None, got {config!r}'
    with pytest.raises(TypeError, match=f'^{re.escape(message)}$'):
        ConvConnector(4, 6, **{name: config})


@pytest.mark.parametrize('mid_channels', [0, 1.5, True])
@pytest.mark.parametrize(
    'build',
    [
        lambda width: BottleneckConnector(4, 6, mid_channels=width),
        lambda width: abf_connector(mid_channels=width),
    ],
    ids=['bottleneck', 'fusion'],
)
def test_the_width_between_must_be_a_positive_integer(build, mid_channels):
    message = f'mid_channels must be an integer of at least 1, got {mid_channels}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build(mid_channels)


def test_the_fusion_needs_as_many_levels_of_both():
    message = (
        'student_channels and teacher_channels must name the same number of levels, got 3 and 2'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        abf_connector(teacher_channels=(7, 8))
