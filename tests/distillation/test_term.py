"""Terms from their sections: connectors of their own, of another term, and over all levels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from wkd_det.connectors import IdentityConnector
from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.tap import TAPS, Binding, Slot, Tap, find_tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.term import Term
from wkd_det.losses.base import Loss, MapLoss
from wkd_det.losses.kd import KDLoss


@TAPS.register_module('levels')
class LevelsTap(Tap):
    """Three maps of 4 channels; the teacher's have 6."""

    yields: ClassVar[str] = 'features'
    binding: ClassVar[Binding] = Binding(
        slots=tuple(Slot(4, 6, (level,)) for level in range(3)), joins_levels=True
    )

    def bind(self, student, teacher):
        return self.binding

    def read(self, student, teacher, connectors):
        own, other = student.maps('neck'), teacher.maps('neck')
        if connectors[0].spans_levels:
            projected = connectors[0](own)
        else:
            projected = [connector(level) for connector, level in zip(connectors, own)]
        return [dict(student=one, teacher=two) for one, two in zip(projected, other)]


@TAPS.register_module('two_levels')
class TwoLevelsTap(LevelsTap):
    binding: ClassVar[Binding] = Binding(slots=LevelsTap.binding.slots[:2])


@TAPS.register_module('way_back')
class WayBackTap(LevelsTap):
    binding: ClassVar[Binding] = replace(LevelsTap.binding, projects='teacher')


class Student(nn.Module):
    """As much of a distilled model as terms ask for when they are built and attached."""

    def find_tap(self, section, name):
        return find_tap(section, name)

    def num_classes_of(self, model):
        return 3


class Maps:
    """A view of either network that has maps only."""

    inputs = torch.zeros(1)

    def __init__(self, maps):
        self._maps = maps

    def maps(self, place):
        return self._maps


LOSS = dict(type='WKDFeatureLoss')
OWN = dict(tap='levels', connector=dict(type='ConvConnector'), loss=LOSS)
BORROWED = dict(tap='two_levels', connector='loss_own', loss=LOSS)


def build(**config):
    torch.manual_seed(0)
    distiller = Distiller(copy.deepcopy(config), Student(), dict(teacher={}))
    distiller.attach(Student(), dict(teacher=Teacher(nn.Linear(1, 1))))
    return distiller


def maps():
    torch.manual_seed(1)
    own, other = ([torch.randn(2, width, 5, 5) for _ in range(3)] for width in (4, 6))
    return Maps([one.requires_grad_() for one in own]), dict(teacher=Maps(other))


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
    distiller.teachers = {}  # the copy of a model is a matter of the model
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
            'loss_other.connector: distill.loss_own: ABFConnector works on all levels',
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


@pytest.mark.parametrize(
    ('slots', 'message'),
    [
        ((), 'LevelsTap has no connector for a level'),
        ((Slot(4, 6),), 'LevelsTap has no connector for a level'),
        ((Slot(4, 6, (1,)), Slot(4, 6, (2,))), r'its levels are \[1, 2\], not 0'),
    ],
)
def test_a_level_without_a_connector_is_not_lent(slots, message):
    connectors = tuple(IdentityConnector(4, 4) for _ in slots)
    term = Term('loss_x', LevelsTap(), Binding(slots=slots), connectors, KDLoss())
    with pytest.raises(ValueError, match=message):
        term.connector_of(0)


def test_one_connector_for_every_level_is_lent_for_each():
    connector = IdentityConnector(4, 4)
    binding = Binding(slots=(Slot(4, 4, None),))
    term = Term('loss_x', LevelsTap(), binding, (connector,), KDLoss())
    assert term.connector_of(0) is term.connector_of(7) is connector


def test_a_loss_takes_what_the_tap_knows_unless_the_config_says_it():
    @MODELS.register_module(name='AskingLoss', force=True)
    class AskingLoss(Loss):
        takes = 'features'

        def __init__(self, *, num_classes):
            super().__init__()
            self.num_classes = num_classes

    class KnowingTap(LevelsTap):
        binding = replace(LevelsTap.binding, facts=dict(num_classes=7, unasked=1))

    TAPS.register_module('knowing', module=KnowingTap, force=True)
    for told, expected in (({}, 7), (dict(num_classes=2), 2)):
        term = dict(OWN, tap='knowing', loss=dict(type='AskingLoss', **told))
        assert build(loss_a=term).terms['loss_a'].loss.num_classes == expected


class OldLoss(nn.Module):
    """A loss as it could be written before 0.2."""

    def forward(self, student, teacher):
        return (student - teacher).square().mean()


class OldConnector(nn.Module):
    def __init__(self, student_channels, teacher_channels):
        super().__init__()
        self.layer = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, features, size=None):
        return self.layer(features)


def test_plain_modules_as_loss_and_connector_go_on_working_with_a_warning():
    term = dict(tap='levels', loss=dict(type=OldLoss), connector=dict(type=OldConnector))
    with pytest.warns(FutureWarning) as warnings:
        distiller = build(loss_x=term)
    messages = ' '.join(str(warning.message) for warning in warnings)
    assert 'OldLoss is no wkd_det.losses.base.Loss' in messages
    assert 'OldConnector is no wkd_det.connectors.Connector' in messages
    assert 'terms.loss_x.connectors.0.layer.weight' in distiller.state_dict()
    assert distiller(*maps())['loss_x'] > 0


def test_widths_that_differ_need_a_connector_unless_the_loss_mixes_them():
    class Mixing(MapLoss):
        mixes_widths = True

        def __init__(self):
            super().__init__(lambda student, teacher, mask: student.mean() - teacher.mean(), 1.0)

    with pytest.raises(ValueError, match='student has 4 channels there, the teacher 6'):
        build(loss_x=dict(tap='levels', loss=LOSS))
    distiller = build(loss_x=dict(tap='levels', loss=dict(type=Mixing)))
    assert distiller(*maps())['loss_x'].isfinite()


def test_connectors_are_told_sizes_if_they_ask():
    class Sized(IdentityConnector):
        def __init__(self, student_channels, teacher_channels, teacher_size=None):
            super().__init__(student_channels, student_channels)
            self.size = teacher_size

    class SizedTap(LevelsTap):
        binding = Binding(slots=(Slot(4, 6, (), (7, 7), (3, 5)),))

    TAPS.register_module('sized', module=SizedTap, force=True)
    distiller = build(loss_x=dict(tap='sized', loss=LOSS, connector=dict(type=Sized)))
    assert distiller.terms['loss_x'].connectors[0].size == (3, 5)


def test_an_option_that_a_tap_requires():
    class Requiring(LevelsTap):
        def __init__(self, *, head):
            self.head = head

    TAPS.register_module('requiring', module=Requiring, force=True)
    message = "distill.loss_x with the tap 'requiring': missing a required .*argument: 'head'"
    with pytest.raises(TypeError, match=message):
        build(loss_x=dict(tap='requiring', loss=LOSS))


def test_a_term_without_teacher():
    class OwnTap(LevelsTap):
        needs_teacher = False

        def bind(self, student, teacher):
            assert teacher is None
            return Binding()

        def read(self, student, teacher, connectors):
            return [dict(student=student.maps('neck')[0])]

    class OwnLoss(Loss):
        takes = 'features'

        def forward(self, student):
            return self.loss_weight * student.square().mean()

    TAPS.register_module('own', module=OwnTap, force=True)
    config = dict(loss_x=dict(tap='own', loss=dict(type=OwnLoss, loss_weight=2.0)))
    distiller = Distiller(config, Student(), {})
    assert distiller.needed_teachers == []
    distiller.attach(Student(), {})
    own, _ = maps()
    expected = 2 * own.maps('neck')[0].square().mean()
    torch.testing.assert_close(distiller(own, {})['loss_x'], expected, rtol=0, atol=0)
    with pytest.raises(KeyError, match='distill.loss_y needs a teacher: set teacher=dict'):
        Distiller(dict(loss_y=OWN), Student(), {})
