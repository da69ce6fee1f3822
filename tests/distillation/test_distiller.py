"""The sum of the terms: non-finite values, scales, log entries and warnings."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from torch import nn

from wkd_det.distillation.distiller import Distiller
from wkd_det.testing import (
    distilled_config,
    random_batch,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

TERMS = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term(), loss_wkd_f_neck=wkd_f_neck_term())


def build(teacher_section, terms=TERMS, **changes):
    torch.manual_seed(0)
    config = distilled_config(teacher_section, terms, **changes)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def losses_of(model):
    data = model.data_preprocessor(random_batch([(96, 128), (96, 96)]), True)
    torch.manual_seed(3)
    return model.loss(data['inputs'], data['data_samples'])


def spoil_teacher(model, value=float('nan')):
    """Its class logits stay as they are in number, but one in each RoI is not."""
    bias = model.distiller.teacher.module.roi_head.bbox_head.fc_cls.bias
    bias.data[1] = value


@pytest.fixture
def messages(monkeypatch):
    found = []
    monkeypatch.setattr(
        'wkd_det.distillation.distiller.print_log', lambda text, **_: found.append(text)
    )
    return found


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_term_that_is_not_finite_stops_with_name_iteration_and_ranges(
    teacher_section, monkeypatch, value
):
    model = build(teacher_section)
    spoil_teacher(model, value)
    hub = MessageHub('guard')
    hub.update_info('iter', 11)
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    with pytest.raises(FloatingPointError) as error:
        losses_of(model)
    text = str(error.value)
    assert 'distillation term loss_wkd_l is nan at iteration 12: ' in text
    assert 'student (64, 5) in [' in text
    assert 'teacher (64, 5) in [' in text
    assert '100.0000% finite; teacher' in text
    assert '80.0000% finite' in text  # one class of five


def test_without_a_runner_there_is_no_iteration_to_name(teacher_section, monkeypatch):
    model = build(teacher_section)
    spoil_teacher(model)
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: MessageHub('empty'))
    with pytest.raises(FloatingPointError, match='loss_wkd_l is nan: student'):
        losses_of(model)


def test_skipping_leaves_the_term_out_and_the_weights_sound(teacher_section, messages):
    model = build(teacher_section, on_non_finite='skip')
    sound = losses_of(model)
    spoil_teacher(model)
    for count in (1, 2):
        model.zero_grad()
        losses = losses_of(model)
        total, log = model.parse_losses(losses)
        total.backward()
        assert losses['loss_wkd_l'] == 0
        assert torch.equal(losses['loss_wkd_f_neck'], sound['loss_wkd_f_neck'])
        assert log['skipped_wkd_l'] == count
        assert 'skipped_wkd_f' not in log
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert len(messages) == count
        assert 'skipped, distillation term loss_wkd_l is nan' in messages[-1]


def test_a_skipped_term_still_gives_its_connector_a_gradient_of_zero(teacher_section, messages):
    model = build(teacher_section, on_non_finite='skip')
    for parameter in model.distiller.teacher.module.neck.parameters():
        parameter.data.fill_(float('inf'))
    total, _ = model.parse_losses(losses_of(model))
    total.backward()
    assert {text.split(' is ')[0].split()[-1] for text in messages} == set(TERMS)
    for name, parameter in model.distiller.terms.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() == 0, name
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize('terms', [TERMS, None])
def test_only_two_choices(teacher_section, terms):
    with pytest.raises(ValueError, match=r"one of \('raise', 'skip'\), got 'ignore'"):
        MODELS.build(distilled_config(teacher_section, terms or {}, on_non_finite='ignore'))
    with pytest.raises(ValueError, match=r"one of \('raise', 'skip'\)"):
        Distiller({}, nn.Identity(), {}, on_non_finite='ignore')


def test_shares_are_logged_and_nothing_is_summed_twice(teacher_section):
    model = build(teacher_section)
    losses = losses_of(model)
    total, log = model.parse_losses(losses)
    shares = {name: value for name, value in log.items() if name.startswith('share_')}
    assert set(shares) == {'share_wkd_l', 'share_wkd_f', 'share_wkd_f_neck'}
    assert log.keys() - shares.keys() == losses.keys() | {'loss'}
    parts = [
        sum(part.mean() for part in value) if isinstance(value, list) else value.mean()
        for name, value in losses.items()
        if 'loss' in name
    ]
    assert torch.allclose(total, torch.stack(parts).sum(), rtol=1e-6)  # order of a float sum
    for name, share in shares.items():
        assert not share.requires_grad
        assert torch.equal(share, (log[name.replace('share', 'loss')] / total).detach())
    assert 0 < sum(shares.values()) < 1


def test_a_plain_model_logs_what_mmdet_logs(teacher_section):
    plain = MODELS.build(tiny_faster_rcnn()).train()
    same = build(teacher_section, {})
    same.load_state_dict(plain.state_dict())
    (total, log), (other_total, other_log) = (
        model.parse_losses(losses_of(model)) for model in (plain, same)
    )
    assert torch.equal(total, other_total)
    assert list(log) == list(other_log)


def test_terms_at_zero_leave_the_teacher_alone_and_give_gradients_of_zero(teacher_section):
    model = build(teacher_section)
    full = losses_of(model)
    for name in TERMS:
        model.distiller.set_scale(name, 0.0)

    def refuse(*args):
        raise AssertionError('the teacher ran')

    handles = [
        module.register_forward_pre_hook(refuse)
        for module in model.distiller.teacher.module.modules()
    ]
    losses = losses_of(model)
    total, log = model.parse_losses(losses)
    total.backward()
    assert [log[name] for name in TERMS] == [0, 0, 0]
    assert torch.equal(losses['loss_bbox'], full['loss_bbox'])
    for name, parameter in model.distiller.terms.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() == 0, name
    model.distiller.set_scale('loss_wkd_l', 1.0)
    with pytest.raises(AssertionError, match='the teacher ran'):
        losses_of(model)
    for handle in handles:
        handle.remove()


def test_scales_are_factors_of_the_configured_weights(teacher_section):
    model = build(teacher_section)
    full = losses_of(model)
    for scale in (0.25, 0.5):  # not 0.25 * 0.5 the second time
        for name in TERMS:
            model.distiller.set_scale(name, scale)
        losses = losses_of(model)
        for name in TERMS:
            assert losses[name].item() == pytest.approx(scale * full[name].item(), rel=1e-6)
    model.distiller.set_scale('loss_wkd_l.transport_weight', 0.5)
    assert model.distiller.terms['loss_wkd_l'].loss.transport_weight == 0.5
    assert model.distiller.scalable() == [
        'loss_wkd_l',
        'loss_wkd_l.transport_weight',
        'loss_wkd_f',
        'loss_wkd_f_neck',
    ]
