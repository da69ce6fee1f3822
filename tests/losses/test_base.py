"""Base of the losses: what every one of them has, maps times a weight, modules of users."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from wkd_det import registry
from wkd_det.losses.base import Loss, MapLoss, adopt

WIDTHS = dict(student_channels=3, teacher_channels=5)
STAGES = dict(student_channels=(3, 4), teacher_channels=(5, 6))
REQUIRED = dict(
    CCLoss=WIDTHS,
    CRDLoss=dict(WIDTHS, num_samples=7),
    DPKLoss=dict(STAGES, teacher_size=((8, 8), (4, 4))),
    DiffKDLogitLoss=dict(num_classes=4),
    DiffKDLoss=WIDTHS,
    FTLoss=WIDTHS,
    ICDLoss=dict(WIDTHS, num_classes=4),
    MGDLoss=dict(teacher_channels=5),
    USKDLoss=dict(num_classes=4, student_channels=3),
    OFDLoss=dict(teacher_channels=(5, 6)),
    VIDLoss=STAGES,
    WCoRDLoss=dict(WIDTHS, num_samples=7),
    WKDLogitLoss=dict(cost=1 - torch.eye(3)),
    WKDSigmoidLoss=dict(cost=1 - torch.eye(3)),
)


def build(name, **options):
    return registry.build(dict(type=name, **REQUIRED.get(name, {}), **options))


@pytest.mark.parametrize('name', registry.LOSSES)
def test_every_loss_has_the_base_and_keeps_its_weight(name):
    loss = build(name, loss_weight=0.25)
    assert isinstance(loss, Loss)
    assert loss.loss_weight == 0.25
    assert isinstance(loss.takes, str)
    assert all(hasattr(loss, part) for part in loss.scalable)
    assert loss.fading_part is None or loss.fading_part in loss.scalable
    assert loss.distance_source is None


@pytest.mark.parametrize('name', registry.LOSSES)
@pytest.mark.parametrize('weight', [-1.0, float('nan')])
def test_a_negative_weight_is_refused(name, weight):
    with pytest.raises(ValueError, match=f'loss_weight must not be negative, got {weight}'):
        build(name, loss_weight=weight)


def test_a_loss_without_distances_takes_none():
    with pytest.raises(NotImplementedError):
        Loss().set_distance(torch.zeros(2, 2))
    Loss().reserve(5)


def test_a_map_loss_is_its_function_times_the_weight():
    student, teacher = torch.randn(2, 1, 2, 3, 3)
    mask = torch.ones(1, 3, 3, dtype=torch.bool)
    seen = []

    def function(student, teacher, *, mask):
        seen.append(mask)
        return (student - teacher).sum()

    loss = MapLoss(function, 3.0)
    assert loss(student, teacher, mask) == 3 * (student - teacher).sum()
    assert loss(student, teacher) == 3 * (student - teacher).sum()
    assert seen == [mask, None]
    assert loss.takes == 'features'


class Plain(nn.Module):
    """As losses of users were before 0.2."""

    scalable = ('loss_weight',)

    def __init__(self):
        super().__init__()
        self.loss_weight = 2.0


def test_a_plain_module_gets_the_members_it_lacks_with_a_warning():
    plain = Plain()
    with pytest.warns(FutureWarning, match='Plain is no wkd_det.losses.base.Loss: derive it'):
        adopted = adopt(plain, 'logits')
    assert adopted is plain
    assert plain.takes == 'logits'
    assert plain.scalable == ('loss_weight',)
    assert plain.fading_part is None
    assert plain.distance_source is None
    plain.reserve(3)


def test_a_loss_is_left_as_it_is():
    loss = build('KDLoss')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert adopt(loss, 'features') is loss
    assert loss.takes == 'logits'
