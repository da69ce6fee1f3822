"""What losses of a detector may ask for, and terms of a detector without a teacher."""

from __future__ import annotations

import copy
import re
from typing import ClassVar
from unittest import mock

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from wkd_det.losses.base import Loss
from wkd_det.testing import distilled_config, random_batch, wkd_l_term

SIZES = [(96, 128), (128, 100)]


def build(teacher_section, terms, **changes):
    torch.manual_seed(0)
    config = distilled_config(teacher_section or {}, terms, **changes)
    if teacher_section is None:
        del config['teacher']
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def losses_of(model, sizes=SIZES):
    data = model.data_preprocessor(random_batch(sizes), True)
    torch.manual_seed(3)
    return model.loss(data['inputs'], data['data_samples'])


class Own(Loss):
    """Makes maps small, of the student alone, with a layer of its own."""

    takes: ClassVar[str] = 'features'
    needs_teacher: ClassVar[bool] = False

    def __init__(self, *, student_channels, num_classes):
        super().__init__()
        self.layer = nn.Conv2d(student_channels, num_classes, 1)

    def forward(self, student, mask=None):
        """Scalar."""
        values = self.layer(student).square()
        return values.mean() if mask is None else values.mean(1)[mask].mean()


def asking(kind, *names, parent=Loss):
    """A loss that needs some names."""

    class Asking(parent):
        takes: ClassVar[str] = kind
        needs = names

        def forward(self, student, teacher, **given):
            return (student.mean() - teacher.mean()).square()

    return dict(type=Asking)


def test_a_detector_with_terms_of_its_own_needs_no_teacher():
    model = build(None, dict(loss_x=dict(tap='backbone.layer3', loss=dict(type=Own))))
    assert model.distiller.needed_teachers == []
    losses = losses_of(model)
    total, log = model.parse_losses(losses)
    total.backward()
    assert log['loss_x'] > 0
    layer = model.distiller.terms['loss_x'].loss.layer
    assert layer.out_channels == 4
    assert layer.weight.grad.abs().sum() > 0


def test_a_teacher_rests_when_the_terms_that_need_it_are_off(teacher_section):
    own = dict(tap='backbone.layer3', loss=dict(type=Own))
    model = build(teacher_section, dict(loss_x=own, loss_l=wkd_l_term()))
    assert losses_of(model)['loss_l'] > 0
    model.distiller.set_scale('loss_l', 0.0)
    teacher = model.distiller.teacher.module
    with mock.patch.object(teacher.backbone, 'forward', side_effect=AssertionError('it ran')):
        losses = losses_of(model)
    assert losses['loss_l'] == 0
    assert losses['loss_x'] > 0


def test_the_input_of_a_module_of_a_detector(teacher_section):
    taps = dict(
        loss_x='neck.fpn_convs.0.conv:input',
        loss_y='backbone.layer3',
        loss_z='backbone.layer4.0.conv1:input',
    )
    shared = dict(connector=dict(type='ConvConnector'), loss=dict(type='FitNetLoss'))
    model = build(teacher_section, {name: dict(shared, tap=tap) for name, tap in taps.items()})
    given = {}
    for name, term in model.distiller.terms.items():
        term.register_forward_pre_hook(lambda _, args, name=name: given.update({name: args[0][0]}))
    losses = losses_of(model)
    assert all(losses[name] > 0 for name in taps)
    assert torch.equal(given['loss_y']['teacher'], given['loss_z']['teacher'])
    slots = [model.distiller.terms[name].binding.slots for name in ('loss_y', 'loss_z')]
    assert slots[0] == slots[1]


@pytest.mark.parametrize(
    ('tap', 'kind', 'name', 'holder'),
    [
        ('roi_logits', 'logits', 'index', 'RoILogitsTap of a DistilledFasterRCNN'),
        ('neck', 'features', 'target', 'NeckTap of a DistilledFasterRCNN'),
        ('backbone.layer3', 'features', 'teacher_head', 'ModuleTap of a DistilledFasterRCNN'),
    ],
)
def test_what_a_detector_does_not_give_is_refused(teacher_section, tap, kind, name, holder):
    loss = asking(kind, name)
    loss['type'].mixes_widths = True
    message = f'distill.loss_x: Asking needs {name}, which {holder} does not give'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build(teacher_section, dict(loss_x=dict(tap=tap, loss=loss)))


def test_roi_logits_give_the_class_of_each_roi(teacher_section):
    term = dict(tap='roi_logits', loss=asking('logits', 'target'))
    assert losses_of(build(teacher_section, dict(loss_x=term)))['loss_x'].isfinite()


def test_a_tap_that_cannot_do_without_a_teacher():
    class OwnLogits(Own):
        takes: ClassVar[str] = 'logits'

    message = "distill.loss_x: OwnLogits compares with no teacher, and the tap 'roi_logits' reads"
    with pytest.raises(ValueError, match=message):
        build(None, dict(loss_x=dict(tap='roi_logits', loss=dict(type=OwnLogits))))


def test_padding_needs_a_loss_that_takes_a_mask(teacher_section):
    class Unmasked(Loss):
        takes: ClassVar[str] = 'features'
        mixes_widths: ClassVar[bool] = True

        def forward(self, student, teacher):
            return (student.mean() - teacher.mean()).square()

    term = dict(tap='neck', levels=[0], loss=dict(type=Unmasked))
    model = build(teacher_section, dict(loss_x=term))
    message = 'distill.loss_x: Unmasked takes no mask, and pixels of padding must not count'
    with pytest.raises(ValueError, match=message):
        losses_of(model)
    assert losses_of(model, sizes=[(128, 128)] * 2)['loss_x'].isfinite()
