"""The look for terms that are not finite: at once, and after the backward pass."""

import copy
import pickle

import pytest
import torch
from mmengine.logging import MessageHub

from wkd_det.distillation import distiller as distiller_module
from wkd_det.distillation.finite import FiniteFlags, LateLook, is_waited_for, ranges
from wkd_det.testing.classifiers import ToyModel

TERM = dict(tap='toy_logits', loss=dict(type='KDLoss'))


def test_flags_name_what_is_not_finite():
    losses = dict(a=1.0, b=float('nan'), c=-float('inf'), d=0.0)
    flags = FiniteFlags({name: torch.tensor(value) for name, value in losses.items()})
    assert flags.names() == ['b', 'c']


def test_inputs_without_a_finite_value_and_without_a_value():
    text = ranges([dict(student=torch.full((2, 3), float('nan')), teacher=torch.ones(0, 3))])
    assert text == 'student (2, 3) has no finite value; teacher (0, 3) is empty'


def test_ranges_of_a_pyramid_name_every_level():
    pair = dict(student=[torch.ones(1, 2), torch.zeros(3)], teacher=[torch.ones(1), torch.ones(0)])
    text = ranges([pair])
    assert text.count('student (') == text.count('teacher (') == 2
    assert 'teacher (0,) is empty' in text


@pytest.mark.parametrize(('device', 'waits'), [('cpu', False), ('cuda', True), ('meta', False)])
def test_gpus_are_waited_for(device, waits):
    assert is_waited_for(torch.device(device)) == waits


class Looks:
    """Records when the look is taken among other events."""

    def __init__(self, error=None):
        self.late, self.events, self.error = LateLook(), [], error

    def look(self):
        self.events.append('look')
        if self.error:
            raise self.error

    def backward(self, weight):
        loss = weight.square()
        loss.register_hook(lambda grad: self.events.append('backward'))
        weight.register_hook(lambda grad: self.events.append('last gradient'))
        self.late.plan(dict(none=torch.zeros(()), loss=loss), self.look)
        self.events.append('planned')
        (3 * loss).backward()
        self.events.append('done')


def test_it_is_taken_when_the_backward_pass_is_through():
    looks = Looks()
    for _ in range(2):
        looks.events.clear()
        looks.backward(torch.tensor(2.0, requires_grad=True))
        assert looks.events == ['planned', 'backward', 'last gradient', 'look', 'done']
    looks.late.take()  # nothing is left to look at
    assert looks.events[-1] == 'done'


def test_an_error_comes_out_of_the_backward_pass():
    looks, weight = Looks(FloatingPointError('it is nan')), torch.tensor(2.0, requires_grad=True)
    with pytest.raises(FloatingPointError, match='^it is nan$'):
        looks.backward(weight)
    assert looks.events[-1] == 'look'


def test_without_a_backward_pass_the_next_step_looks():
    looks, weight = Looks(), torch.tensor(2.0, requires_grad=True)
    looks.late.plan(dict(loss=weight.square()), looks.look)
    assert looks.events == []
    looks.late.take()
    assert looks.events == ['look']


def test_losses_without_a_gradient_are_looked_at_at_once():
    looks = Looks()
    looks.late.plan(dict(loss=torch.zeros(())), looks.look)
    assert looks.events == ['look']


@pytest.mark.parametrize('again', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_have_nothing_planned(again):
    looks = Looks()
    looks.late.plan(dict(loss=torch.ones((), requires_grad=True).square()), looks.look)
    again(looks.late).take()
    assert looks.events == []


def spoilt(choice):
    model = ToyModel(dict(loss_kd=TERM))
    model.distiller.on_non_finite = choice
    model.distiller.teacher.module.weight.data[0, 0] = float('nan')
    return model, (torch.ones(2, 4), torch.tensor([0, 1]))


def test_on_a_gpu_the_weights_are_not_touched(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)
    hub = MessageHub('late')
    hub.update_info('iter', 4)
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    model, batch = spoilt('raise')
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = model.loss(*batch)  # no error yet
    hub.update_info('iter', 5)

    def update():
        sum(losses.values()).backward()
        optimizer.step()

    with pytest.raises(
        FloatingPointError,
        match=r'^distillation term loss_kd is nan at iteration 5: student \(2, 3\) in .* teacher',
    ):
        update()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_on_a_gpu_a_step_that_was_not_followed_by_a_backward_pass_is_found_out(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)
    model, batch = spoilt('raise')
    model.loss(*batch)
    with pytest.raises(FloatingPointError, match='loss_kd is nan'):
        model.loss(*batch)


def test_on_a_gpu_skipping_looks_at_once(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)
    model, batch = spoilt('skip')
    assert model.loss(*batch)['loss_kd'] == 0
