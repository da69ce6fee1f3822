"""Losses of other methods as modules: each is its function times the weight."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det import functional

FEATURES = {
    'FitNetLoss': functional.fitnet_loss,
    'NSTLoss': functional.nst_loss,
    'ICKDLoss': functional.ickd_loss,
    'PKDLoss': functional.pkd_loss,
}


def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 3, 6, 7, generator=generator).unbind(0)


def logits():
    generator = torch.Generator().manual_seed(0)
    return (*torch.randn(2, 4, 5, generator=generator).unbind(0), torch.tensor([0, 4, 2, 2]))


@pytest.mark.parametrize('kind', FEATURES)
@pytest.mark.parametrize('loss_weight', [1.0, 6.0, 0.0])
def test_feature_losses(kind, loss_weight):
    loss = copy.deepcopy(MODELS.build(dict(type=kind, loss_weight=loss_weight)))
    assert loss.takes == 'features'
    assert not loss.state_dict()
    extra = dict(mask=torch.rand(2, 6, 7) < 0.7, weight=torch.tensor([1.0, 0.5]), avg_factor=1.5)
    for arguments in ({}, extra):
        expected = loss_weight * FEATURES[kind](*maps(), **arguments)
        assert torch.equal(loss(*maps(), **arguments), expected)


def test_ickd_without_normalisation():
    loss = MODELS.build(dict(type='ICKDLoss', normalize=False))
    assert torch.equal(loss(*maps()), functional.ickd_loss(*maps(), normalize=False))
    assert not torch.equal(loss(*maps()), functional.ickd_loss(*maps()))


def test_kd():
    student, teacher, target = logits()
    loss = MODELS.build(dict(type='KDLoss', temperature=4.0, loss_weight=0.5))
    assert loss.takes == 'logits'
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0])
    expected = 0.5 * functional.kd_loss(
        student, teacher, temperature=4.0, weight=weight, avg_factor=3.0
    )
    assert torch.equal(loss(student, teacher, target, weight, 3.0), expected)
    defaults = MODELS.build(dict(type='KDLoss'))
    assert torch.equal(
        defaults(student, teacher), functional.kd_loss(student, teacher, temperature=1.0)
    )


def test_dkd():
    student, teacher, target = logits()
    options = dict(alpha=2.0, beta=8.0, temperature=4.0)
    loss = MODELS.build(dict(type='DKDLoss', loss_weight=0.5, **options))
    assert loss.takes == 'logits'
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0])
    expected = 0.5 * functional.dkd_loss(
        student, teacher, target, weight=weight, avg_factor=3.0, **options
    )
    assert torch.equal(loss(student, teacher, target, weight, 3.0), expected)
    defaults = MODELS.build(dict(type='DKDLoss'))
    assert torch.equal(
        defaults(student, teacher, target), functional.dkd_loss(student, teacher, target)
    )


@pytest.mark.parametrize('part', ['alpha', 'beta'])
def test_the_parts_of_dkd_can_be_scheduled(part):
    student, teacher, target = logits()
    loss = MODELS.build(dict(type='DKDLoss'))
    assert part in loss.scalable
    setattr(loss, part, 0.0)
    assert torch.equal(
        loss(student, teacher, target), functional.dkd_loss(student, teacher, target, **{part: 0.0})
    )


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        *((dict(type=kind, loss_weight=-1), 'loss_weight must not be') for kind in FEATURES),
        (dict(type='KDLoss', temperature=0), 'temperature must be positive, got 0'),
        (dict(type='KDLoss', loss_weight=-1), 'loss_weight must not be negative, got -1'),
        (dict(type='DKDLoss', temperature=0), 'temperature must be positive, got 0'),
        (dict(type='DKDLoss', alpha=-1), 'alpha must not be negative, got -1'),
        (dict(type='DKDLoss', beta=-1), 'beta must not be negative, got -1'),
    ],
)
def test_numbers_outside_their_range(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)
