"""Folding: which normalisations are found, and that the folded network computes the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wkd_det.distillation.folding import fold, foldable


def frozen(network, seed=0):
    """The network in evaluation mode, its normalisations with statistics of some training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            for value in (module.running_mean, module.bias):
                value.data.normal_(generator=generator)
            for value in (module.running_var, module.weight):
                value.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval().requires_grad_(False)


def images():
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def found(network, read=()):
    return foldable(network, [lambda: network(images()[:1])], read)


class Net(nn.Module):
    """Convolution, normalisation and a second of each; ``path`` says how they are used."""

    def __init__(self, path):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)  # defined in an order that says nothing
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.other = nn.BatchNorm2d(3)
        self.path = path

    def forward(self, images):
        return self.path(self, images)


PATHS = {
    'in turn': (lambda n, x: n.other(n.block(n.norm(n.conv(x)).relu())), 2),
    'pre-activation': (lambda n, x: n.block(n.other(n.conv(n.norm(x)).relu())), 0),
    'norm before the second only': (lambda n, x: n.norm(n.conv(n.other(x))), 1),
    'read by a sum': (lambda n, x: (lambda y: n.norm(y) + y)(n.conv(x)), 0),
    'read in place': (lambda n, x: (lambda y: n.norm(y.relu_()))(n.conv(x)), 0),
    'read as a view': (lambda n, x: (lambda y: n.norm(y) + y[:, :1])(n.conv(x)), 0),
    'returned': (lambda n, x: (lambda y: (n.norm(y), y))(n.conv(x)), 0),
    'activation between': (lambda n, x: n.norm(n.conv(x).relu()), 0),
    'two norms': (lambda n, x: (lambda y: n.norm(y) + n.other(y))(n.conv(x)), 0),
    'two norms in turn': (lambda n, x: n.norm(n.conv(x)) + n.other(n.conv(x)), 0),
    'two convolutions': (lambda n, x: n.norm(n.conv(x)) + n.norm(n.block(x)), 0),
    'norm of the input too': (lambda n, x: n.norm(n.conv(x)) + n.norm(x), 0),
    'without the norm too': (lambda n, x: n.norm(n.conv(x)) + n.conv(x), 0),
    'a pair that runs twice': (lambda n, x: n.norm(n.conv(n.norm(n.conv(x)))), 1),
    'its weights used elsewhere': (
        lambda n, x: n.norm(n.conv(x)) + F.conv2d(x, n.conv.weight, padding=1), 0
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', PATHS)
def test_pairs_are_found_by_what_runs(name):
    path, count = PATHS[name]
    network = frozen(Net(path)).double()
    pairs = foldable(network, [lambda: network(images()[:1].double())])
    assert len(pairs) == count
    folded = copy.deepcopy(network)
    fold(folded, pairs)
    kinds = [type(module) for module in folded.modules()]
    assert kinds.count(nn.Identity) == count
    with torch.no_grad():
        own, other = network(images().double()), folded(images().double())
    for a, b in zip(*(one if isinstance(one, tuple) else (one,) for one in (own, other))):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)  # rounding of float64


def test_closed_form():
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)
    network = nn.Sequential(conv, norm).eval()
    for value, number in (
        (conv.weight, 5.0), (conv.bias, 7.0), (norm.running_mean, 4.0), (norm.running_var, 3.0),
        (norm.weight, 6.0), (norm.bias, 1.0),
    ):  # fmt: skip
        value.data.fill_(number)
    fold(network, [('0', '1')])
    # 6 (5 x + 7 - 4) / sqrt(3 + 1) + 1
    assert (conv.weight.item(), conv.bias.item()) == (15.0, 10.0)
    assert isinstance(network[1], nn.Identity)
    assert not conv.weight.requires_grad
    assert not conv.bias.requires_grad
    assert conv.weight.dtype == torch.float32


@pytest.mark.parametrize('groups', [1, 2])
def test_transposed_convolutions(groups):
    network = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups), nn.BatchNorm2d(6))
    network = frozen(network).double()
    maps = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    pairs = foldable(network, [lambda: network(maps)])
    expected = network(maps)
    assert pairs == ([('0', '1')] if groups == 1 else [])
    fold(network, pairs)
    torch.testing.assert_close(network(maps), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ('read', 'folded'),
    [
        (['conv'], False),
        (['norm:input'], False),
        (['block:input', 'conv:input'], True),
        (['norm'], True),
        ([''], True),
    ],
)
def test_what_somebody_reads_is_left(read, folded):
    network = frozen(Net(lambda n, x: n.block(n.norm(n.conv(x)))))
    assert (('conv', 'norm') in found(network, read)) == folded


def test_a_module_around_the_convolution_is_read():
    network = frozen(Net(lambda n, x: n.other(n.block(x))))
    assert found(network) == [('block.0', 'other')]
    assert found(network, ['block']) == []


class Standardised(nn.Conv2d):
    """Computes something else with the same weights."""

    def forward(self, features):
        return self._conv_forward(features, self.weight - self.weight.mean(), self.bias)


def _hooked():
    conv = nn.Conv2d(3, 3, 1)
    conv.register_forward_hook(lambda module, args, output: 2 * output)
    return conv


@pytest.mark.parametrize(
    'layers',
    [
        lambda: (Standardised(3, 3, 1), nn.BatchNorm2d(3)),
        lambda: (_hooked(), nn.BatchNorm2d(3)),
        lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        lambda: (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        lambda: (nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)),
        lambda: (nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3, track_running_stats=True)),
    ],
)
def test_other_layers_are_left(layers):
    assert found(nn.Sequential(*layers()).eval()) == []


def test_norms_without_weights_and_synchronised_ones_are_folded():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False),
        nn.Conv2d(4, 4, 1), nn.SyncBatchNorm(4),
    ).eval()  # fmt: skip
    network[1].running_mean.fill_(2)
    expected = network(images())
    fold(network, found(network))
    assert [type(network[index]) for index in (1, 3)] == [nn.Identity] * 2
    torch.testing.assert_close(network(images()), expected, rtol=1e-5, atol=1e-5)


def test_the_activation_of_timm_stays():
    norm_act = pytest.importorskip('timm.layers').BatchNormAct2d
    network = frozen(nn.Sequential(nn.Conv2d(3, 4, 1), norm_act(4)))
    expected = network(images())
    fold(network, found(network))
    assert list(dict(network[1].named_children())) == ['drop', 'act']
    assert expected.min() == 0
    torch.testing.assert_close(network(images()), expected, rtol=1e-5, atol=1e-5)


def test_a_part_that_fails_contributes_nothing():
    network = frozen(Net(lambda n, x: n.block(n.norm(n.conv(x)))))

    def fails():
        network(images())
        raise TypeError('more than maps is needed')

    good = nn.Sequential(network.conv, network.norm)
    parts = [lambda: good(images())]
    assert foldable(network, parts) == [('conv', 'norm')]
    assert foldable(network, [fails]) == []
    assert foldable(network, [*parts, fails]) == []
    assert foldable(network, [*parts, lambda: network.conv(images())]) == []


def test_watching_leaves_no_trace():
    network = frozen(Net(lambda n, x: n.block(n.norm(n.conv(x)))))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found(network, ['block'])
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
