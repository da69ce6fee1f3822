"""Terms that would train nothing are refused in the first step, and no others."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.utils.checkpoint import checkpoint

from wkd_det.distillation.reach import reaches
from wkd_det.testing import distilled_config, random_batch


def test_values_reach_the_weights_in_their_graph():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    values = second(first(torch.ones(1, 2)))
    assert reaches([values])
    assert reaches([values], second.parameters())
    assert not reaches([values], [*first.parameters(), *second.parameters()])
    assert reaches([values.detach(), first.weight])
    first.requires_grad_(False)
    assert not reaches([second(first(torch.ones(1, 2)))], second.parameters())
    assert not reaches([values.detach(), first.weight])
    assert not reaches([])


@pytest.mark.parametrize('reentrant', [True, False])
def test_layers_that_compute_their_activations_again_are_reached(reentrant):
    layer = nn.Linear(2, 2)
    given = torch.ones(1, 2, requires_grad=True)
    assert reaches([checkpoint(layer, given, use_reentrant=reentrant)], [given])


def loss_of(teacher_section, term, **backbone):
    config = distilled_config(teacher_section, dict(loss_x=term))
    config.backbone.update({'frozen_stages': -1, **backbone})
    model = MODELS.build(copy.deepcopy(config)).train()
    data = model.data_preprocessor(random_batch([(64, 64)]), True)
    return model.loss(data['inputs'], data['data_samples'])['loss_x']


FIT = dict(loss=dict(type='FitNetLoss'), connector=dict(type='ConvConnector'))


def test_a_term_in_front_of_frozen_stages_is_refused(teacher_section):
    term = dict(FIT, tap='backbone', levels=[0])
    assert loss_of(teacher_section, term) > 0
    with pytest.raises(ValueError, match=r'^distill.loss_x would train no weight of the student'):
        loss_of(teacher_section, term, frozen_stages=1)
    assert loss_of(teacher_section, dict(term, levels=[1]), frozen_stages=1) > 0


def test_a_module_inside_a_block_that_is_computed_again_is_refused(teacher_section):
    term = dict(FIT, tap='backbone.layer3.0.conv2')
    assert loss_of(teacher_section, term) > 0
    with pytest.raises(ValueError, match='inside a block with with_cp=True'):
        loss_of(teacher_section, term, with_cp=True)
    assert loss_of(teacher_section, dict(term, tap='backbone.layer3'), with_cp=True) > 0


def test_without_gradients_nothing_is_refused(teacher_section):
    with torch.no_grad():
        term = dict(FIT, tap='backbone', levels=[0])
        assert loss_of(teacher_section, term, frozen_stages=1) > 0
