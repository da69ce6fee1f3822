"""Modules by their own names and by those of places."""

from __future__ import annotations

import pytest
from torch import nn

from wkd_det.distillation.places import Places, check_names

NETWORK = nn.ModuleDict(dict(layer=nn.Sequential(nn.Linear(1, 1), nn.ReLU()), pool=nn.Identity()))
PLACES = Places(
    chosen=dict(mine='layer.0', layer='layer.1'),
    usual=dict(mine='pool', pool='layer.1:input', stages=['layer.0', 'layer.1'], last='layer.1'),
)


def module(name):
    return PLACES.module('student', NETWORK, name)


def modules(given):
    return PLACES.modules('student', NETWORK, given)


def test_a_chosen_place_stands_over_modules_and_these_over_usual_places():
    assert module('mine') == 'layer.0'
    assert module('layer') == 'layer.1'
    assert module('pool') == 'pool'
    assert module('last') == 'layer.1'
    assert module('layer.0:input') == 'layer.0:input'


def test_in_lists_places_stand_first_and_for_all_of_their_modules():
    assert modules('stages') == ['layer.0', 'layer.1']
    assert modules(['stages', 'pool', 'layer.1']) == [
        'layer.0',
        'layer.1',
        'layer.1:input',
        'layer.1',
    ]
    assert modules('last') == ['layer.1']


def test_names_of_places():
    assert PLACES.names() == ['mine', 'layer', 'pool', 'stages', 'last']
    assert PLACES.of('nowhere') is None


def test_errors_name_what_is_there():
    with pytest.raises(ValueError, match="place 'stages' of the student has several modules, .'la"):
        module('stages')
    for find in (module, modules):
        with pytest.raises(KeyError, match="the student ModuleDict has no such module: got 'lats'"):
            find('lats')
    with pytest.raises(KeyError, match="no such module: got 'stagse'; near matches are stages"):
        modules(['layer.0', 'stagse'])
    broken = Places(usual=dict(last='layer.7'))
    with pytest.raises(KeyError, match="no such module: got 'layer.7'; near matches are layer"):
        broken.module('student', NETWORK, 'last')


@pytest.mark.parametrize('value', [3, [], ['layer', 3], {}])
def test_what_are_no_names(value):
    message = 'modules must be the name of a module or of a place, or a list of such, got'
    with pytest.raises(ValueError, match=message):
        check_names(modules=value)
    check_names(modules=None, module='layer', others=['a', 'b'])
