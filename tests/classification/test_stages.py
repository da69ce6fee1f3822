"""Stages: the parts of a network after a cut give what the network gives, or it is refused."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torchvision
from torch import nn

from wkd_det.classification.networks.mobilenets import MobileNetV1
from wkd_det.classification.networks.zoo import CifarModel
from wkd_det.classification.places import places_of
from wkd_det.classification.stages import StagedNetwork, is_rectified
from wkd_det.distillation.recording import recording

NETWORKS = {
    **{
        name: lambda name=name: CifarModel(name, 10)
        for name in ('resnet8', 'ResNet18', 'wrn_16_2', 'vgg8', 'MobileNetV2')
    },
    'ShuffleV1': lambda: CifarModel('ShuffleV1', 10),
    'ShuffleV2': lambda: CifarModel('ShuffleV2', 10),
    'MobileNetV1': lambda: MobileNetV1(10),
    'torchvision resnet18': lambda: torchvision.models.resnet18(num_classes=10),
}


def images(size=32):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


# Equal to the network


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('place', ['stages', 'stages_before'])
@pytest.mark.parametrize('name', NETWORKS)
def test_parts_give_what_the_network_gives(name, place, training):
    """In both modes, behind the activation and before it, also where one ReLU serves twice."""
    torch.manual_seed(0)
    network = NETWORKS[name]().train(training)
    cuts = places_of(network, 10).get(place)
    if cuts is None:
        assert (name, place) == ('ShuffleV2', 'stages_before')  # halves that are rectified apart
        return
    with recording(network, ['', *cuts]) as outputs, torch.no_grad():
        network(images())
    staged = StagedNetwork(network, cuts, 'student')
    for start in range(len(cuts)):
        with torch.no_grad():
            maps, logits = staged.run(network, start, outputs[cuts[start]])
        assert torch.equal(logits, outputs[''])
        assert list(maps) == list(range(start + 1, len(cuts)))
        assert all(torch.equal(value, outputs[cuts[index]]) for index, value in maps.items())


def test_any_network_of_the_kind_is_run_and_copies_share_the_plan():
    network, other = CifarModel('resnet8', 10).eval(), CifarModel('resnet8', 10).eval()
    staged = StagedNetwork(network, ['layer1', 'layer2'], 'student')
    assert copy.deepcopy(staged) is staged
    maps = torch.randn(2, 16, 32, 32)
    features = other.layer3(other.layer2(maps))
    assert torch.equal(staged.run(other, 0, maps)[1], other.fc(other.pool(features)))
    assert not torch.equal(staged.run(network, 0, maps)[1], staged.run(other, 0, maps)[1])


def test_modules_after_a_cut():
    network = CifarModel('resnet8', 10)
    staged = StagedNetwork(network, ['layer1', 'layer2'], 'student')
    expected = [network.layer3, network.pool, network.fc]
    assert staged.stage_modules(network, 1) == expected
    assert staged.stage_modules(network, 0) == [network.layer2, *expected]


def test_a_value_before_an_activation_in_place_stays():
    network = torchvision.models.vgg11_bn(num_classes=3).eval()
    staged = StagedNetwork(network, ['features.2:input', 'features.6:input'], 'student')
    maps = torch.randn(1, 64, 32, 32)
    before = maps.clone()
    found, _ = staged.run(network, 0, maps)
    assert torch.equal(maps, before)
    assert (found[1] < 0).any()


# Maps out of a ReLU


@pytest.mark.parametrize(
    ('name', 'place', 'expected'),
    [
        ('resnet8', 'stages', True),
        ('resnet8', 'stages_before', False),
        ('wrn_16_2', 'stages', False),
        ('MobileNetV2', 'stages', False),
        ('vgg8', 'stages', True),
        ('ShuffleV2', 'stages', True),  # halves are shuffled after their ReLU
        ('torchvision resnet18', 'stages', True),
    ],
)
def test_the_graph_shows_whether_a_map_is_rectified(name, place, expected):
    network = NETWORKS[name]()
    cuts = places_of(network, 10)[place]
    with recording(network, cuts) as outputs:
        network(images())
    assert [is_rectified(outputs[cut]) for cut in cuts] == [expected] * len(cuts)


def test_relu6_is_rectified_and_a_clipped_value_not():
    values = torch.randn(3, requires_grad=True)
    assert is_rectified(nn.ReLU6()(values).view(1, 3).mean(0))
    assert not is_rectified(nn.Hardtanh()(values))
    assert not is_rectified(values)


# Errors


class Skipping(nn.Module):
    """The last stage reads the first one too."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(3, 3) for _ in range(3))

    def forward(self, values):
        first = self.one(values)
        return self.three(self.two(first) + first)


class Branching(Skipping):
    def forward(self, values):
        return self.three(self.two(values)) if values.sum() > 0 else self.one(values)


class Many(Skipping):
    def forward(self, values):
        first = self.two(self.one(values))
        return self.three(first), first


@pytest.mark.parametrize(
    ('network', 'cuts', 'reason'),
    [
        (Skipping, ['one', 'two'], 'what comes after two reads earlier values as well'),
        (Branching, ['two', 'three'], 'torch.fx does not trace it (symbolically traced '),
        (Many, ['one', 'two'], 'it returns more than logits'),
        (
            lambda: CifarModel('resnet8', 10),
            ['layer2', 'layer1'],
            'they do not run one after the other in this order',
        ),
        (
            lambda: CifarModel('resnet8', 10),
            ['layer1', 'layer1.0.conv1'],
            'layer1 does not run as a whole',
        ),
    ],
)
def test_networks_that_are_no_chain_are_refused(network, cuts, reason):
    network = network()
    message = (
        f'the teacher {type(network).__name__} cannot be cut into stages at {", ".join(cuts)}: '
        f'{reason}'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
        StagedNetwork(network, cuts, 'teacher')
