"""Terms from their sections: connectors of their own, of another term, and over all levels."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher


@TAPS.register_module('levels')
class LevelsTap(Tap):
    """Three maps of 4 channels; the teacher's have 6."""

    yields: ClassVar[str] = 'features'
    joins_levels: ClassVar[bool] = True
    count: ClassVar[int] = 3

    def widths(self, student, teacher):
        return [(4, 6)] * self.count

    def connector_of(self, level, connectors):
        if getattr(connectors[0], 'spans_levels', False):
            raise ValueError('one connector works on all levels')
        return connectors[level]

    def pairs(self, student, teacher, connectors):
        if getattr(connectors[0], 'spans_levels', False):
            projected = connectors[0](student)
        else:
            projected = [connector(level) for connector, level in zip(connectors, student)]
        return [dict(student=own, teacher=other) for own, other in zip(projected, teacher)]


@TAPS.register_module('two_levels')
class TwoLevelsTap(LevelsTap):
    joins_levels: ClassVar[bool] = False
    count: ClassVar[int] = 2


@TAPS.register_module('way_back')
class WayBackTap(LevelsTap):
    projects: ClassVar[str] = 'teacher'


LOSS = dict(type='WKDFeatureLoss')
OWN = dict(tap='levels', connector=dict(type='ConvConnector'), loss=LOSS)
BORROWED = dict(tap='two_levels', connector='loss_own', loss=LOSS)


def build(**config):
    torch.manual_seed(0)
    distiller = Distiller(copy.deepcopy(config), nn.Identity(), {})
    distiller.attach(nn.Identity(), Teacher(nn.Linear(1, 1)))
    return distiller


def maps():
    torch.manual_seed(1)
    return [torch.randn(2, 4, 5, 5) for _ in range(3)], [torch.randn(2, 6, 5, 5) for _ in range(3)]


@pytest.mark.parametrize('order', [('loss_own', 'loss_other'), ('loss_other', 'loss_own')])
def test_a_borrowed_connector_is_the_same_module_and_saved_once(order):
    config = dict(loss_own=OWN, loss_other=BORROWED)
    distiller = build(**{name: config[name] for name in order})
    assert list(distiller.terms) == list(order)
    own, other = distiller.terms['loss_own'], distiller.terms['loss_other']
    assert [a is b for a, b in zip(own.connectors, other.connectors)] == [True, True]
    assert not any(name.startswith('terms.loss_other') for name in distiller.state_dict())
    assert len(list(distiller.parameters())) == 9  # three connectors: weight, BN weight and bias


def test_both_terms_train_it():
    def gradient(**scales):
        distiller = build(loss_own=OWN, loss_other=BORROWED)
        for name, scale in scales.items():
            distiller.set_scale(name, scale)
        torch.stack(list(distiller(*maps()).values())).sum().backward()
        return distiller.terms['loss_own'].connectors[0].conv.conv.weight.grad

    parts = gradient(loss_own=0.0), gradient(loss_other=0.0)
    assert all(part.abs().sum() > 0 for part in parts)
    torch.testing.assert_close(gradient(), sum(parts))


def test_a_copy_shares_within_itself_and_not_with_the_original():
    distiller = build(loss_own=OWN, loss_other=BORROWED)
    distiller.teacher = None  # the copy of a model is a matter of the model
    copied = copy.deepcopy(distiller)
    for index in range(2):
        connector = copied.terms['loss_other'].connectors[index]
        assert connector is copied.terms['loss_own'].connectors[index]
        assert connector is not distiller.terms['loss_own'].connectors[index]


def test_a_connector_over_all_levels_is_built_once_with_all_widths():
    connector = dict(type='ABFConnector', mid_channels=3)
    distiller = build(loss_own=dict(OWN, connector=connector))
    (abf,) = distiller.terms['loss_own'].connectors
    assert [layer.conv.in_channels for layer in abf.inward] == [4, 4, 4]
    assert [layer.conv.out_channels for layer in abf.outward] == [6, 6, 6]
    assert distiller(*maps())['loss_own'] > 0


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        (
            dict(loss_own=OWN, loss_other=dict(BORROWED, connector='loss_owm')),
            KeyError,
            r"connector must be .* one of .'loss_own'., got 'loss_owm'",
        ),
        (
            dict(loss_own=OWN, loss_other=BORROWED, loss_x=dict(BORROWED, connector='loss_other')),
            KeyError,
            r"one of .'loss_own'., got 'loss_other'",
        ),
        (
            dict(
                loss_own=dict(OWN, connector=dict(type='ABFConnector')),
                loss_other=BORROWED,
            ),
            ValueError,
            'loss_other.connector: distill.loss_own: one connector works on all levels',
        ),
        (
            dict(loss_own=dict(OWN, tap='way_back'), loss_other=BORROWED),
            ValueError,
            "loss_other projects the student's maps, but .*loss_own the teacher's",
        ),
        (
            dict(loss_own=dict(OWN, tap='two_levels', connector=dict(type='ABFConnector'))),
            ValueError,
            'ABFConnector works on all levels of a map tap at once',
        ),
    ],
)
def test_errors_name_the_place_and_the_choices(config, error, message):
    with pytest.raises(error, match=message):
        build(**config)


def test_a_tap_without_levels_lends_nothing():
    with pytest.raises(ValueError, match='Tap has no connector for a level'):
        Tap().connector_of(0, [])


def test_a_loss_takes_what_the_tap_knows_unless_the_config_says_it():
    @MODELS.register_module(name='AskingLoss', force=True)
    class AskingLoss(nn.Module):
        takes = 'features'

        def __init__(self, *, num_classes):
            super().__init__()
            self.num_classes = num_classes

    class KnowingTap(LevelsTap):
        def loss_arguments(self, student, teacher):
            return dict(num_classes=7, unasked=1)

    TAPS.register_module('knowing', module=KnowingTap, force=True)
    for told, expected in (({}, 7), (dict(num_classes=2), 2)):
        term = dict(OWN, tap='knowing', loss=dict(type='AskingLoss', **told))
        assert build(loss_a=term).terms['loss_a'].loss.num_classes == expected


def test_ranges_of_a_pyramid_name_every_level():
    from wkd_det.distillation.distiller import _ranges

    pair = dict(student=[torch.ones(1, 2), torch.zeros(3)], teacher=[torch.ones(1), torch.ones(0)])
    text = _ranges([pair])
    assert text.count('student (') == text.count('teacher (') == 2
    assert 'teacher (0,) is empty' in text
