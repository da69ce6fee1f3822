"""Weights that keep a term at a share of the task's gradient: closed form, state, cost, limits."""

import copy
import re
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from wkd_det.distillation import distiller as distiller_module
from wkd_det.distillation import term_watch
from wkd_det.distillation.gradient_share import GradientShare
from wkd_det.losses.base import Loss
from wkd_det.testing.classifiers import ToyModel

EXACT = dict(rtol=1e-6, atol=0)  # a few roundings of float32
SHARE = 0.25


class Squares(Loss):
    """Sum of the squared differences: its gradient is twice the difference."""

    takes = 'features'

    def forward(self, student, teacher, mask=None):
        """Scalar."""
        return self.loss_weight * (student - teacher).square().sum()


class Unweighted(Loss):
    """Has no weight to govern."""

    takes = 'features'

    def __init__(self):
        super().__init__()

    def forward(self, student, teacher, mask=None):
        """Scalar."""
        return (student - teacher).square().sum()


def toy(kind=Squares, **options):
    weight = dict(dict(type='GradientShare', share=SHARE, every=1, momentum=0.0), **options)
    loss = dict(type=kind, loss_weight=weight)
    return ToyModel(dict(loss_x=dict(tap='toy_features', loss=loss))).train()


def batch(seed=0, count=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % 3


def gradients_of(model, inputs, target):
    """Of the toy's task and of its term with a weight of 1, at the logits, in closed form."""
    logits = model.layer(inputs).detach()
    task = (logits.softmax(1) - F.one_hot(target, 3)) / len(target)
    return task, 2 * (logits - model.distiller.teacher.module(inputs))


def step(model, seed=0):
    losses = model.loss(*batch(seed))
    total, log = model.parse_losses(losses)
    total.backward()
    return losses, log


def test_closed_form():
    model = toy()
    inputs, target = batch()
    task, term = gradients_of(model, inputs, target)
    weight = SHARE * task.norm() / term.norm()
    losses, log = step(model)
    torch.testing.assert_close(log['weight_x'], weight, **EXACT)
    torch.testing.assert_close(
        losses['loss_x'].detach(), weight * (term / 2).square().sum(), **EXACT
    )
    # The measurement left no trace in the gradient of the layer.
    expected = (task + weight * term).T @ inputs
    torch.testing.assert_close(model.layer.weight.grad, expected, rtol=1e-5, atol=1e-7)


def test_the_weighted_gradient_is_the_share_of_the_tasks():
    model = toy()
    task, term = gradients_of(model, *batch())
    _, log = step(model)
    torch.testing.assert_close(log['weight_x'] * term.norm(), SHARE * task.norm(), **EXACT)


def test_averages_move_and_have_no_bias_towards_zero():
    model, momentum = toy(momentum=0.75), 0.75
    seen = []
    for seed in range(4):
        task, term = gradients_of(model, *batch(seed))
        seen.append((task.norm(), term.norm()))
        _, log = step(model, seed)
        factors = [momentum**age for age in range(len(seen))][::-1]
        above, below = (sum(f * norms[i] for f, norms in zip(factors, seen)) for i in (0, 1))
        torch.testing.assert_close(log['weight_x'], SHARE * above / below, **EXACT)


def test_it_costs_something_at_measured_steps_only():
    """Two calls then: back from the task, and back from the term."""
    model, calls = toy(every=3), []
    with mock.patch('torch.autograd.grad', side_effect=torch.autograd.grad) as grad:
        for seed in range(7):
            step(model, seed)
            calls.append(grad.call_count)
            grad.reset_mock()
    assert calls == [2, 0, 0, 2, 0, 0, 2]
    assert not model.layer._forward_hooks


def test_between_measurements_the_weight_stays():
    model = toy(every=3)
    weights = [step(model, seed)[1]['weight_x'] for seed in range(6)]
    assert weights[0] == weights[1] == weights[2] != weights[3] == weights[4] == weights[5]


def test_warm_up():
    model, plain = toy(warm_up=4), toy()
    ratios = [
        float(step(model, seed)[1]['weight_x'] / step(plain, seed)[1]['weight_x'])
        for seed in range(6)
    ]
    assert ratios == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], rel=1e-6)


def test_a_schedule_scales_on_top():
    model, plain = toy(momentum=0.5), toy(momentum=0.5)
    model.distiller.set_scale('loss_x', 0.5)
    for seed in range(3):
        (losses, log), (expected, other) = step(model, seed), step(plain, seed)
        assert torch.equal(log['weight_x'], other['weight_x'])
        torch.testing.assert_close(losses['loss_x'], expected['loss_x'] / 2, **EXACT)


def test_a_term_that_is_off_is_not_measured_and_its_steps_do_not_count():
    model = toy(every=2)
    step(model)
    model.distiller.set_scale('loss_x', 0.0)
    share = model.distiller.terms['loss_x'].gradient_share
    before = copy.deepcopy(share.state_dict())
    with mock.patch('torch.autograd.grad', side_effect=AssertionError):
        losses, log = step(model, 1)
    assert losses['loss_x'] == 0
    assert 'weight_x' not in log
    assert all(torch.equal(value, before[key]) for key, value in share.state_dict().items())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_measurement_that_is_not_finite_does_not_count(value):
    model = toy(momentum=0.5)
    model.distiller.on_non_finite = 'skip'
    _, log = step(model)
    bias = model.distiller.teacher.module.bias
    good = bias.clone()
    bias[0] = value
    losses, after = step(model, 1)
    assert losses['loss_x'] == 0
    assert after['weight_x'] == log['weight_x']
    bias.copy_(good)
    _, last = step(model, 2)
    assert last['weight_x'].isfinite()
    assert last['weight_x'] != log['weight_x']


def test_a_step_without_a_gradient_does_not_count():
    model = toy(momentum=0.5)
    teacher = model.distiller.teacher.module
    teacher.load_state_dict(model.layer.state_dict())
    _, log = step(model)
    assert log['weight_x'] == 0  # nothing is known yet
    assert not model.distiller.terms['loss_x'].gradient_share.norms.any()
    teacher.weight.add_(1)
    _, log = step(model)
    task, term = gradients_of(model, *batch())
    torch.testing.assert_close(log['weight_x'], SHARE * task.norm() / term.norm(), **EXACT)


def test_no_measurement_without_a_graph():
    model = toy()
    with torch.no_grad(), mock.patch('torch.autograd.grad', side_effect=AssertionError):
        model.loss(*batch())
    assert model.distiller.terms['loss_x'].gradient_share.steps == 0


def test_state_is_in_the_checkpoint_beside_the_student_and_goes_on_exactly():
    options = dict(every=2, momentum=0.5, warm_up=5)
    whole, first = toy(**options), toy(**options)
    for seed in range(3):
        step(whole, seed), step(first, seed)
    state = copy.deepcopy(first.state_dict())
    own = {key for key in state if not key.startswith('distiller.')}
    assert own == {'layer.weight', 'layer.bias'}
    place = 'distiller.terms.loss_x.gradient_share.'
    assert {key for key in state if key.startswith(place)} == {f'{place}norms', f'{place}steps'}
    resumed = toy(**options)
    resumed.load_state_dict(state)
    for seed in range(3, 7):
        (losses, log), (expected, other) = step(resumed, seed), step(whole, seed)
        assert torch.equal(losses['loss_x'], expected['loss_x'])
        assert torch.equal(log['weight_x'], other['weight_x'])


def test_the_number_of_steps_is_read_once_after_loading():
    model = toy(every=3)
    model.load_state_dict(toy(every=3).state_dict())
    share = model.distiller.terms['loss_x'].gradient_share
    assert share._step is None
    step(model)
    share.steps.fill_(100)  # nobody looks
    assert share._number() == 1


def test_the_late_look_still_raises(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)
    model = toy(momentum=0.5)
    step(model)
    model.distiller.teacher.module.bias[0] = float('nan')
    losses = model.loss(*batch(1))  # measured; the look waits for the backward pass
    with pytest.raises(FloatingPointError, match='loss_x'):
        model.parse_losses(losses)[0].backward()
    assert model.distiller.terms['loss_x'].gradient_share.weight().isfinite()


def test_a_governed_term_may_be_larger_than_the_task(monkeypatch):
    """Its value says nothing about how hard it pulls."""
    said = []
    monkeypatch.setattr(term_watch, 'print_log', lambda text, **_: said.append(text))
    for share, expected in ((1e3, 0), (None, 1)):
        model = toy(share=share or 1.0)
        if share is None:
            model.distiller.terms['loss_x'].gradient_share = None
            model.distiller.terms['loss_x'].loss.loss_weight = 1e3
        model.distiller._watch.window = 2
        for _ in range(4):
            step(model)
        assert len(said) == expected, said


@pytest.mark.parametrize(
    ('weight', 'error', 'message'),
    [
        (dict(share=0.0), ValueError, 'share must be positive, got 0.0'),
        (dict(share=0.1, every=0), ValueError, 'every must be an integer of at least 1, got 0'),
        (dict(share=0.1, momentum=1.0), ValueError, 'momentum must be below 1, got 1.0'),
        (dict(share=0.1, momentum=-1), ValueError, 'momentum must not be negative, got -1'),
        (
            dict(share=0.1, warm_up=0.5), ValueError,
            'warm_up must be an integer of at least 0, got 0.5',
        ),
        (
            dict(shared=0.1), KeyError,
            "distill.loss_x.loss.loss_weight has unknown keys ['shared']; valid keys are ['every', "
            "'momentum', 'share', 'warm_up']",
        ),
        (
            {}, TypeError,
            "distill.loss_x.loss.loss_weight of type 'GradientShare': missing a required argument: "
            "'share'",
        ),
        (
            dict(type='GradShare'), KeyError,
            "distill.loss_x.loss.loss_weight.type must be one of ['GradientShare'], got "
            "'GradShare'",
        ),
        (
            dict(type='KDLoss'), TypeError,
            "distill.loss_x.loss.loss_weight must be a number or a GradientShare, got 'KDLoss'",
        ),
    ],
)  # fmt: skip
def test_mistakes(weight, error, message):
    loss = dict(type=Squares, loss_weight=dict(dict(type='GradientShare'), **weight))
    with pytest.raises(error, match=re.escape(message)):
        ToyModel(dict(loss_x=dict(tap='toy_features', loss=loss)))


def test_a_loss_without_a_weight_has_none_to_govern():
    with pytest.raises(KeyError, match=r"loss_x.loss has unknown keys \['loss_weight'\]"):
        toy(Unweighted)


def test_parts_that_are_sharded_by_themselves_are_refused():
    model = toy()
    kind = type('FullyShardedDataParallel', (torch.nn.Sequential,), {})
    model.part = kind(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="cannot be measured while 'part' of the student is shar"):
        step(model)


def test_defaults_and_no_parameters():
    share = GradientShare(0.2, every=5)
    assert (share.share, share.every, share.momentum, share.warm_up) == (0.2, 5, 0.9, 0)
    assert not list(share.parameters())
