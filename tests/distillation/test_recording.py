"""Recording of a pass: outputs and inputs of modules, and what would be wrong to read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wkd_det.distillation.recording import Recorded, module_of, recording


class Block(nn.Module):
    """Two activations of one module, as torchvision's residual blocks have them."""

    def __init__(self, inplace):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, values):
        return self.relu(self.layer(self.relu(self.layer(values))))


def record(network, names, values, **options):
    into = Recorded(**options)
    with recording(network, names, into=into):
        network(values)
    return into


@pytest.fixture
def values():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('inplace', [False, True])
def test_the_last_input_of_a_module_as_it_was_given(values, inplace):
    torch.manual_seed(0)
    block = Block(inplace)
    found = record(block, ['relu:input', 'relu', ':input', ''], values)
    assert (found['relu:input'] < 0).any()
    assert torch.equal(found['relu:input'].relu(), found['relu'])
    assert torch.equal(found[''], found['relu'])
    assert torch.equal(found[':input'], values)
    found['relu:input'].sum().backward()  # the copy belongs to the graph
    assert block.layer.weight.grad.abs().sum() > 0


def test_what_works_in_place_inside_a_module_is_known(values):
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)))
    found = record(network, ['1:input'], values)
    assert torch.equal(found['1:input'], network[0](values))


def test_an_input_that_is_changed_by_a_function_is_refused(values):
    class Hidden(nn.Module):
        def forward(self, features):
            return features.mul_(2)

    network = nn.Sequential(nn.Linear(3, 3), Hidden())
    with torch.no_grad():
        found = record(network, ['1:input', '0'], values)
    with pytest.raises(ValueError, match="the input of '1' is changed in place by a later layer"):
        found['1:input']
    with pytest.raises(ValueError, match="the output of '0' is changed in place by a later layer"):
        found['0']


def test_modules_that_do_not_run_once_or_get_no_tensor(values):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.named = nn.Linear(3, 3), Named()

        def forward(self, features):
            return self.named(features=features)

    class Named(nn.Module):
        def forward(self, features):
            return (features, features)

    found = record(Odd(), ['unused:input', 'named:input', 'named'], values)
    with pytest.raises(ValueError, match="the module 'unused' did not run in this pass"):
        found['unused:input']
    with pytest.raises(ValueError, match="the module 'named' is given a NoneType, not a tensor"):
        found['named:input']
    with pytest.raises(ValueError, match="the module 'named' returns a tuple, not a tensor"):
        found['named']
    twice = record(Block(False), ['relu:input'], values, single=True)
    with pytest.raises(ValueError, match="the module 'relu' runs 2 times in a pass"):
        twice['relu:input']


def test_hooks_are_gone_afterwards(values):
    block = Block(True)
    with pytest.raises(ZeroDivisionError), recording(block, ['relu:input', 'layer']):
        raise ZeroDivisionError
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in block.modules())


def test_names():
    assert [module_of(name) for name in ('', ':input', 'a.b:input', 'a.b')] == [
        '',
        '',
        'a.b',
        'a.b',
    ]


def test_every_run_of_a_module_that_runs_for_each_level(values):
    """As the branches of a dense head; by its name alone it is refused all the same."""
    block = Block(inplace=True)
    found = record(block, ['relu:input'], values, single=True, repeated=['relu:input'])
    first, second = found.every('relu:input')
    assert torch.equal(first, block.layer(values))
    assert torch.equal(second, block.layer(first.relu()))
    with pytest.raises(ValueError, match='runs 2 times in a pass'):
        found['relu:input']
