"""The hook that logs gradients of terms over those of the task, and accumulated gradients."""

import copy

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wkd_det.hooks import GradientNormHook
from wkd_det.testing.classifiers import ToyModel

PLAIN = dict(
    loss_x=dict(tap='toy_features', loss=dict(type='FitNetLoss', loss_weight=3.0)),
    loss_y=dict(tap='toy_logits', loss=dict(type='KDLoss')),
)


class Notes(Hook):
    """What each iteration has logged."""

    def __init__(self):
        self.logs = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logs.append({name: value.clone() for name, value in outputs.items()})


def batches(size):
    """Twelve samples, always in this order."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        dict(inputs=torch.randn(4, generator=generator), target=index % 3) for index in range(12)
    ]
    return torch.utils.data.DataLoader(samples, batch_size=size, shuffle=False)


def run(folder, distill, *hooks, iters=6, accumulate=1, size=4):
    notes = Notes()
    runner = Runner(
        model=ToyModel(copy.deepcopy(distill)),
        work_dir=str(folder),
        train_dataloader=batches(size),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=accumulate),
        custom_hooks=[notes, *map(HOOKS.build, hooks)],
        default_scope='mmdet',
        experiment_name=f'{folder.name}_{id(notes)}',
        log_level='ERROR',
    )
    runner.train()
    return runner, notes.logs


def test_it_logs_every_few_iterations_and_changes_no_bit(tmp_path):
    hook = dict(type='GradientNormHook', interval=2)
    runner, logs = run(tmp_path, PLAIN, hook)
    plain, others = run(tmp_path, PLAIN)
    names = [{name for name in log if name.startswith('gradient_')} for log in logs]
    assert names == [set(), {'gradient_x', 'gradient_y'}] * 3
    assert not any(name.startswith('gradient_') for log in others for name in log)
    states = runner.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert len(runner.message_hub.get_scalar('train/gradient_x').data[0]) == 3


def test_the_ratio_is_that_of_the_weighted_terms(tmp_path):
    """One sample for all steps is enough: logits, task and term are known in closed form."""
    _, logs = run(tmp_path, PLAIN, dict(type='GradientNormHook', interval=1), iters=1, size=12)
    (batch,) = batches(12)
    model = ToyModel(copy.deepcopy(PLAIN))
    logits = model.layer(batch['inputs']).detach().requires_grad_()
    task = torch.nn.functional.cross_entropy(logits, batch['target'])
    teacher = model.distiller.teacher.module(batch['inputs'])
    term = model.distiller.terms['loss_x'].loss(logits[..., None, None], teacher[..., None, None])
    norms = [torch.autograd.grad(loss, logits)[0].norm() for loss in (term, task)]
    # float32 sums in another order
    torch.testing.assert_close(logs[0]['gradient_x'], norms[0] / norms[1], rtol=1e-5, atol=0)


def test_a_schedule_is_in_it(tmp_path):
    hook = dict(type='GradientNormHook', interval=1)
    schedule = dict(type='TermScheduleHook', terms=['loss_x'], by_epoch=False, factor=0.5)
    off = dict(type='TermScheduleHook', terms=['loss_y'], by_epoch=False, factor=0.0)
    _, logs = run(tmp_path, PLAIN, hook, iters=1)
    _, halved = run(tmp_path, PLAIN, hook, schedule, off, iters=1)
    torch.testing.assert_close(
        halved[0]['gradient_x'], logs[0]['gradient_x'] / 2, rtol=1e-6, atol=0
    )
    assert 'gradient_y' not in halved[0]


def test_a_governed_term_keeps_its_share(tmp_path):
    share = dict(type='GradientShare', share=0.3, every=1, momentum=0.0)
    terms = copy.deepcopy(PLAIN)
    terms['loss_x']['loss']['loss_weight'] = share
    _, logs = run(tmp_path, terms, dict(type='GradientNormHook', interval=2))
    for log in logs[1::2]:
        torch.testing.assert_close(log['gradient_x'], torch.tensor(0.3), rtol=1e-5, atol=0)


@pytest.mark.parametrize('kind', ['plain', 'logged'])
def test_accumulated_batches_share_a_weight(tmp_path, kind):
    """Measured in the first batch of every second update; logging measures more, and changes
    nothing."""
    share = dict(type='GradientShare', share=0.3, every=4, momentum=0.5)
    terms = copy.deepcopy(PLAIN)
    terms['loss_x']['loss']['loss_weight'] = share
    hooks = [dict(type='GradientNormHook', interval=1)] if kind == 'logged' else []
    runner, logs = run(tmp_path, terms, *hooks, iters=8, accumulate=2)
    weights = [float(log['weight_x']) for log in logs]
    assert len(set(weights[:4])) == len(set(weights[4:])) == 1
    assert len(set(weights)) == 2
    weight = runner.model.layer.weight
    other, _ = run(tmp_path, terms, iters=8, accumulate=2)
    assert torch.equal(weight, other.model.layer.weight)


def test_what_is_asked_for_is_measured_in_the_next_pass_or_never():
    model = ToyModel(copy.deepcopy(PLAIN)).train()
    (batch,) = batches(12)

    def logged():
        _, log = model.parse_losses(model.loss(batch['inputs'], batch['target']))
        return [name for name in log if name.startswith('gradient_')]

    model.distiller.log_gradients()
    for name in PLAIN:
        model.distiller.set_scale(name, 0.0)
    assert logged() == []
    for name in PLAIN:
        model.distiller.set_scale(name, 1.0)
    assert logged() == []
    model.distiller.log_gradients()
    assert logged() == ['gradient_x', 'gradient_y']


def test_a_model_without_terms_has_nothing_to_log(tmp_path):
    _, logs = run(tmp_path, {}, dict(type='GradientNormHook', interval=1), iters=1)
    assert not any(name.startswith('gradient_') for name in logs[0])


def test_intervals_are_positive():
    with pytest.raises(ValueError, match='interval must be an integer of at least 1, got 0'):
        GradientNormHook(interval=0)
