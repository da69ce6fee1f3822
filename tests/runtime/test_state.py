"""State: weights of a checkpoint, put in without tolerance; their hash; random states."""

from __future__ import annotations

import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from wkd_det.runtime.state import (
    load_strictly,
    random_state,
    set_random_state,
    weights_hash,
    weights_of,
)


def network():
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)))


# Weights


def test_weights_of_a_training_checkpoint_and_of_bare_weights():
    state = network().state_dict()
    for checkpoint in (dict(state_dict=state, meta=dict()), state):
        weights = weights_of(checkpoint)
        assert list(weights) == list(state)
        assert weights._metadata == state._metadata


def test_prefixes_of_parallel_wrappers_go_and_what_the_distiller_adds_stays_out():
    state = OrderedDict(
        (
            ('module.conv.weight', torch.ones(1)),
            ('distiller.terms.loss_wkd_l.loss.cost', torch.ones(1)),
            ('module.distiller.terms.loss_wkd_f.connectors.0.conv.weight', torch.ones(1)),
            ('head.module.weight', torch.ones(1)),
            ('my_distiller.weight', torch.ones(1)),
        )
    )
    weights = weights_of(dict(state_dict=state))
    assert list(weights) == ['conv.weight', 'head.module.weight', 'my_distiller.weight']
    assert 'module.conv.weight' in state  # the checkpoint is left as it was


def test_a_distilled_parallel_checkpoint_loads_into_the_plain_network():
    trained, fresh = network(), network()
    state = OrderedDict((f'module.{key}', value) for key, value in trained.state_dict().items())
    state['module.distiller.terms.a.loss.cost'] = torch.ones(2, 2)
    load_strictly(fresh, weights_of(dict(state_dict=state)), 'here')
    for key, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)


@pytest.mark.parametrize('place', ['state_dict', 'model', 'model_state_dict', 'net', 'module'])
def test_where_checkpoints_hold_weights(place):
    state = network().state_dict()
    beside = dict(epoch=3, optimizer=dict(state={}), args=None, ema_state_dict=dict(steps=1))
    weights = weights_of({place: state, **beside})
    assert list(weights) == list(state)
    assert weights._metadata == state._metadata


def test_a_checkpoint_without_weights():
    message = (
        '^the checkpoint holds epoch, generator and no weights under any of the names state_dict, '
        'model, model_state_dict, net, module$'
    )
    with pytest.raises(ValueError, match=message):
        weights_of(dict(epoch=3, generator=network().state_dict()))


def flat_copy(state):
    """What the moving average of MMDetection 2 keeps."""
    return {f'ema_{key.replace(".", "_")}': value + 1 for key, value in state.items()}


@pytest.mark.parametrize(
    'change',
    [
        lambda s: {f'module.{key}': value for key, value in s.items()},
        lambda s: {f'_orig_mod.{key}': value for key, value in s.items()},
        lambda s: {f'module._orig_mod.{key}': value for key, value in s.items()},
        lambda s: {f'_orig_mod.module.{key}': value for key, value in s.items()},
        lambda s: {key.replace('conv.', 'conv._orig_mod.'): value for key, value in s.items()},
        lambda s: {f'_fsdp_wrapped_module.{key}': value for key, value in s.items()},
        lambda s: {
            key.replace('norm.', 'norm._checkpoint_wrapped_module.'): v for key, v in s.items()
        },
        lambda s: dict(
            {f'module.{key}': value for key, value in s.items()}, n_averaged=torch.tensor(5)
        ),
        lambda s: dict(
            {f'module.module.{key}': value for key, value in s.items()}, steps=torch.tensor(5)
        ),
        lambda s: {**s, **flat_copy(s)},
        lambda s: {f'module.{key}': value for key, value in {**s, **flat_copy(s)}.items()},
        lambda s: {**s, **flat_copy({key: v for key, v in s.items() if 'running' not in key})},
        lambda s: {
            **s,
            'data_preprocessor.mean': torch.zeros(3, 1, 1),
            'data_preprocessor.std': torch.ones(3, 1, 1),
        },
        lambda s: {**s, 'pixel_mean': torch.zeros(3, 1, 1), 'd2_model.pixel_std': torch.ones(3)},
    ],
    ids=[
        'parallel',
        'compiled',
        'compiled, then parallel',
        'parallel, then compiled',
        'a part compiled',
        'FSDP',
        'recomputed',
        'average of torch',
        'average of mmengine over parallel',
        'average of MMDetection 2',
        'the same, parallel',
        'the same without buffers',
        'old preprocessor',
        'Detectron2',
    ],
)
def test_real_checkpoints_load_strictly(change):
    trained, fresh = network(), network()
    trained.norm.running_mean += 3
    load_strictly(fresh, weights_of(dict(state_dict=change(trained.state_dict()))), 'here')
    for key, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value), key


def test_names_of_wrappers_are_whole_parts_of_a_key():
    keys = ['head.module.weight', 'module_list.0.weight', 'ema_head_weight', 'steps', 'n_averaged']
    state = OrderedDict((key, torch.ones(1)) for key in keys)
    assert list(weights_of(state)) == keys


def test_the_module_of_the_same_name_gets_its_pixels():
    """A preprocessor that keeps its statistics is loaded as any module."""
    module = nn.Module()
    module.data_preprocessor = nn.Module()
    module.data_preprocessor.register_buffer('mean', torch.zeros(3))
    load_strictly(module, weights_of({'data_preprocessor.mean': torch.ones(3)}), 'here')
    assert module.data_preprocessor.mean.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match='missing keys: data_preprocessor.mean$'):
        load_strictly(module, {}, 'here')


def test_other_keys_that_begin_with_ema_are_unexpected():
    weights = network().state_dict()
    weights['ema_head_weight'] = torch.ones(1)
    with pytest.raises(ValueError, match='^here does not fit Seq.*: unexpected keys: ema_head_wei'):
        load_strictly(network(), weights_of(weights), 'here')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda w: w.pop('conv.bias'), 'here does not fit Sequential: missing keys: conv.bias$'),
        (lambda w: w.update(extra=torch.ones(1)), 'does not fit .*: unexpected keys: extra$'),
        (
            lambda w: w.update({'conv.weight': torch.ones(5, 3, 1, 1)}),
            r'conv.weight \(5, 3, 1, 1\) instead of \(4, 3, 1, 1\)$',
        ),
        (
            lambda w: (w.pop('norm.running_mean'), w.update(extra=torch.ones(1))),
            'missing keys: norm.running_mean; unexpected keys: extra$',
        ),
        (
            lambda w: w.update({f'extra{index:02}': torch.ones(1) for index in range(10)}),
            'extra00, .*extra07 and 2 more$',
        ),
        (lambda w: w.clear(), 'missing keys: conv.weight, conv.bias, norm.weight'),
    ],
    ids=['missing', 'unexpected', 'misshapen', 'both', 'many', 'all'],
)
def test_faults_are_named(spoil, message):
    weights = OrderedDict(network().state_dict())
    spoil(weights)
    with pytest.raises(ValueError, match=message):
        load_strictly(network(), weights, 'here')


class Renaming(nn.Conv2d):
    """Knows its weight by an older name, as many modules of mmdet do."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f'{prefix}kernel' in state_dict:
            state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}kernel')
        super()._load_from_state_dict(state_dict, prefix, *args)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda w: w.update({'norm.bias': torch.ones(5)}),
        lambda w: w.update({'norm.bias': 3}),
        lambda w: w.pop('norm.bias'),
        lambda w: w.update(extra=torch.ones(1)),
        lambda w: w.update({'conv.kernel': torch.ones(1, 2, 1, 1)}),
    ],
    ids=['misshapen', 'no tensor', 'missing', 'unexpected', 'misshapen under an older name'],
)
def test_after_an_error_the_network_is_as_it_was(spoil):
    module = nn.Sequential(OrderedDict(conv=Renaming(3, 4, 1), norm=nn.BatchNorm2d(4)))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    weights = OrderedDict((key, value + 1) for key, value in network().state_dict().items())
    spoil(weights)
    with pytest.raises(ValueError, match='here does not fit Sequential: '):
        load_strictly(module, weights, 'here')
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())


def test_a_module_may_know_its_weights_by_older_names():
    module = nn.Sequential(OrderedDict(conv=Renaming(3, 4, 1)))
    weights = {'conv.kernel': torch.ones(4, 3, 1, 1), 'conv.bias': torch.zeros(4)}
    load_strictly(module, weights, 'here')
    assert (module.conv.weight == 1).all()


def test_state_that_is_no_dict():
    with pytest.raises(ValueError, match='state_dict of the checkpoint is a list, not a dict'):
        weights_of(dict(state_dict=[torch.ones(1)]))


def test_only_the_counter_of_old_batch_norms_may_be_missing():
    weights = network().state_dict()  # with its version, so that torch does not fill the gap
    del weights['norm.num_batches_tracked']
    module = network()
    load_strictly(module, weights, 'here')
    assert torch.equal(module.conv.weight, weights['conv.weight'])


# Hash


def test_the_hash_is_that_of_names_shapes_types_and_values():
    module = network()
    state = OrderedDict((key, value.clone()) for key, value in module.state_dict().items())
    known = weights_hash(module)
    other = network()
    assert weights_hash(other) != known
    other.load_state_dict(state)
    assert weights_hash(other) == known
    assert weights_hash(other.double()) != known
    renamed = nn.Sequential(OrderedDict(conv=module.conv, bn=module.norm))
    assert weights_hash(renamed) != known
    reshaped = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=module.norm))
    reshaped.conv.weight.data = module.conv.weight.data.reshape(4, 1, 3, 1)
    reshaped.conv.bias = module.conv.bias
    assert weights_hash(reshaped) != known


# Random states


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1)


def test_random_states_come_back_through_a_file_of_plain_data(tmp_path):
    random.gauss(0, 1)  # leaves a second value in store, part of the state
    np.random.randn()
    torch.save(random_state(), tmp_path / 'state.pth')
    first = draws()
    draws()
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert draws() == first


@pytest.mark.parametrize('beside', ['resnet50', None, 3])
def test_the_name_of_a_model_next_to_its_weights(beside):
    weights = torch.nn.Linear(2, 1).state_dict()
    for place, other in (('model_state_dict', 'model'), ('model', 'state_dict')):
        assert set(weights_of({other: beside, place: weights})) == {'weight', 'bias'}
