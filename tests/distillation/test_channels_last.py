"""Channels last: weights and maps lie so, values stay, and what reads one layout alone gets it."""

import copy

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2dPack, RoIAlign, RoIPool
from torch import nn

from wkd_det.distillation.channels_last import lay_out_channels_last
from wkd_det.distillation.inference import Inference

LAST = torch.channels_last


def lies_so(tensor):
    return tensor.is_contiguous(memory_format=LAST) and not tensor.is_contiguous()


def prepare(network):
    Inference(channels_last=True).prepare(network)


@pytest.mark.parametrize('lay_out', [lay_out_channels_last, prepare])
def test_weights_and_maps_lie_so_and_values_stay(lay_out):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)).eval()
    network.register_buffer('filter', torch.rand(4, 4, 3, 3))
    weights = dict(network.named_parameters())
    before = copy.deepcopy(network.state_dict())
    images = torch.rand(2, 3, 9, 9)
    plain = network(images)
    lay_out(network)
    found = network(images)
    assert dict(network.named_parameters()) == weights  # the same, as an optimiser holds them
    assert lies_so(network[2].weight)
    assert lies_so(network.filter)
    assert lies_so(found)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6)  # sums in another order
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize('lay_out', [lay_out_channels_last, prepare])
@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv2d(8, 8, 1, bias=False),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(1, 8, 3),
        nn.ConvTranspose2d(8, 8, 1),
    ],
    ids=['1x1', 'depthwise', 'grey', 'transposed'],
)
def test_maps_of_weights_that_lie_both_ways(layer, lay_out):
    layer = copy.deepcopy(layer).eval()
    channels = layer.weight.shape[1] * getattr(layer, 'groups', 1)
    lay_out(layer)
    assert lies_so(layer(torch.rand(2, channels, 6, 6)))


class Pooled(nn.Module):
    """Operators of mmcv behind a convolution, given what they read with and without its name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.deform = ModulatedDeformConv2dPack(8, 8, 3, padding=1)
        self.pool = RoIAlign(4)

    def forward(self, images):
        maps = self.conv(images)
        rois = torch.tensor([[0.0, 0, 0, 6, 6], [1, 2, 2, 8, 8]])
        return self.deform(maps), self.pool(input=maps, rois=rois)


def by_torch(network):
    """An operator that lies so already is set back."""
    lay_out_channels_last(network.to(memory_format=LAST))


def twice(network):
    lay_out_channels_last(network)
    lay_out_channels_last(network)


def derived(network):
    """As parametrisations do it, which put a class of their own in the place of a module's."""
    network.deform.__class__ = type('Mine', (ModulatedDeformConv2dPack,), {})
    lay_out_channels_last(network)


@pytest.mark.parametrize('lay_out', [lay_out_channels_last, prepare, by_torch, twice, derived])
def test_operators_of_mmcv_keep_the_usual_layout(lay_out):
    """A compiled kernel reads any tensor as if it lay so."""
    torch.manual_seed(0)
    network = Pooled().eval().requires_grad_(False)
    images = torch.rand(2, 3, 9, 9)
    plain = network(images)
    lay_out(network)
    maps, seen = [], []
    network.conv.register_forward_hook(lambda module, inputs, output: maps.append(output))
    for operator in (network.deform, network.pool):
        operator.register_forward_pre_hook(
            lambda module, inputs, named: seen.append([*inputs, *named.values()][0]),
            with_kwargs=True,
        )
    found = network(images)
    assert lies_so(maps[0])
    assert [one.shape for one in seen] == [maps[0].shape] * 2
    assert all(one.is_contiguous() for one in seen)
    assert all(weight.is_contiguous() for weight in network.deform.parameters())
    assert len(network.pool._forward_pre_hooks) == 2  # of the layout, and of this test
    for one, other in zip(found, plain):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_operators_of_mmcv_get_gradients_in_the_usual_layout():
    network = Pooled()
    network.pool = RoIPool(4)
    lay_out_channels_last(network)
    network = copy.deepcopy(network)
    seen = []

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(context, maps):
            return maps.clone(memory_format=torch.contiguous_format)

        @staticmethod
        def backward(context, gradient):
            seen.append(gradient)
            return gradient

    network.pool.forward = Operator.apply
    pooled = network.pool(network.conv(torch.rand(2, 3, 9, 9)))
    nn.Conv2d(8, 4, 1).to(memory_format=LAST)(pooled).sum().backward()
    assert seen[0].is_contiguous()


def test_weights_of_other_dimensions_stay_as_they_are():
    network = nn.Sequential(nn.Conv3d(8, 2, 3), nn.Conv1d(8, 2, 3), nn.Linear(8, 2))
    lay_out_channels_last(network)
    assert all(weight.is_contiguous() for weight in network.parameters())
    assert network[0](torch.rand(1, 8, 4, 4, 4)).shape == (1, 2, 2, 2, 2)
