"""Warnings of terms that stay at zero or dwarf the losses of the task."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.distillation.term_watch import TermWatch
from wkd_det.testing import distilled_config, random_batch, wkd_f_neck_term, wkd_l_term


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(
        'wkd_det.distillation.term_watch.print_log', lambda text, **_: found.append(text)
    )
    return found


def watch(steps, **options):
    """Steps of (total, first term, second term)."""
    term_watch = TermWatch(**options)
    for total, *values in steps:
        terms = {f'loss_{name}': torch.tensor(value) for name, value in zip('ab', values)}
        term_watch.update(terms, torch.tensor(total, requires_grad=True))
    return term_watch


def test_a_term_at_zero_is_named_once(warnings):
    watch([(2.0, 0.0, 1.0)] * 9, window=3)
    assert warnings == ['distillation term loss_a has been 0 for 3 steps: it teaches nothing']


def test_a_term_that_dwarfs_the_task_is_named_once(warnings):
    watch([(32.0, 1.0, 30.0)] * 9, window=3, max_ratio=20)
    assert len(warnings) == 1
    assert 'term loss_b is 30 on the mean of 3 steps, the task loss 1: lower' in warnings[0]


def test_healthy_terms_are_left_alone(warnings):
    watch([(2.0, 0.0, 0.5), (2.0, 0.1, 0.5)] * 4, window=2)
    watch([(2.0, 0.0, 0.5)] * 3, window=4)  # too early to tell
    watch([(2.0,)] * 4, window=2)
    assert warnings == []


def test_a_term_that_is_switched_off_and_on_begins_a_new_window(warnings):
    watch([(2.0, 0.0), (2.0,), (2.0, 0.0), (2.0,)] * 2, window=2)
    assert warnings == []


def test_no_graph_is_kept():
    assert all(not step.requires_grad for step in watch([(2.0, 1.0)] * 2)._steps)


def test_the_terms_of_a_model_are_watched(teacher_section, warnings):
    terms = dict(loss_l=wkd_l_term(loss_weight=0.0), loss_f=wkd_f_neck_term())
    terms['loss_f']['loss']['loss_weight'] = 1e4
    model = MODELS.build(distilled_config(teacher_section, terms))
    model.init_weights()
    model.distiller._watch.window = 2
    data = model.data_preprocessor(random_batch([(64, 64)]), True)
    for _ in range(2):
        model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert [text.split(' is ')[0].split(' has ')[0] for text in warnings] == [
        'distillation term loss_l',
        'distillation term loss_f',
    ]
    del warnings[:]
    model.distiller.set_scale('loss_f', 0.0)  # by a schedule: nothing to warn of
    model.distiller._watch = TermWatch(window=1)
    model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert [text.split(' has ')[0] for text in warnings] == ['distillation term loss_l']
