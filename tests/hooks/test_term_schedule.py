"""Scaled terms in mmengine's runner: by epoch, by iteration, resumed, accumulated, switched off."""

import math

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wkd_det.distillation.schedule import TermSchedule
from wkd_det.functional import wkd_logit_loss
from wkd_det.testing.classifiers import ToyModel

TERMS = ('loss_wkd_l', 'loss_wkd_f')


class Notes(Hook):
    """Weights and losses of every iteration."""

    def __init__(self):
        self.whole, self.transport, self.losses, self.runs = [], [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        terms = runner.model.distiller.terms
        self.whole.append([terms[name].scale for name in TERMS])
        self.transport.append(terms['loss_wkd_l'].loss.transport_weight)
        self.losses.append({name: value.item() for name, value in outputs.items()})
        self.runs.append(runner.model.teacher_runs)


def toy(separated=True):
    loss = dict(
        type='WKDLogitLoss',
        cost=1 - torch.eye(3),
        transport_weight=30.0,
        temperature=2.0,
        separated=separated,
    )
    connector = dict(type='ConvConnector', norm_cfg=None)
    return ToyModel(
        dict(
            loss_wkd_l=dict(tap='toy_logits', loss=loss),
            loss_wkd_f=dict(
                tap='toy_features', connector=connector, loss=dict(type='WKDFeatureLoss')
            ),
        )
    )


def batches(size):
    """Twelve samples, always in this order."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        dict(inputs=torch.randn(4, generator=generator), target=index % 3) for index in range(12)
    ]
    return torch.utils.data.DataLoader(samples, batch_size=size, shuffle=False)


def run(folder, loop, *hooks, size=12, model=None, lr=0.0, accumulate=1, resume=None):
    """Train the toy; with ``lr=0`` and one batch an epoch all steps see the same numbers."""
    notes = Notes()
    by_epoch = 'max_epochs' in loop
    checkpoint = dict(type='CheckpointHook', interval=1, by_epoch=by_epoch)
    runner = Runner(
        model=toy() if model is None else model,
        work_dir=str(folder),
        train_dataloader=batches(size),
        train_cfg=dict(type=f'{"Epoch" if by_epoch else "Iter"}BasedTrainLoop', **loop),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr), accumulative_counts=accumulate),
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=[notes, *(HOOKS.build(dict(type='TermScheduleHook', **h)) for h in hooks)],
        load_from=None if resume is None else str(resume),
        resume=resume is not None,
        default_scope='mmdet',
        experiment_name=f'{folder.name}_{id(notes)}',
        log_level='ERROR',
    )
    runner.train()
    return runner, notes


def decay(last, begin):
    return [
        1.0 if e <= begin else (1 + math.cos(math.pi * (e - begin) / (last - begin))) / 2
        for e in range(1, last + 1)
    ]


def test_reference_preset_fades_the_transport_and_the_features(tmp_path):
    runner, notes = run(tmp_path, dict(max_epochs=6), dict(decay_from=2))
    expected = decay(6, 2)
    assert [scales[1] for scales in notes.whole] == expected
    assert [scales[0] for scales in notes.whole] == [1.0] * 6
    assert notes.transport == [30.0 * scale for scale in expected]
    first = notes.losses[0]
    # The scale multiplies a float32 loss.
    assert [losses['loss_wkd_f'] for losses in notes.losses] == pytest.approx(
        [scale * first['loss_wkd_f'] for scale in expected], rel=1e-6
    )
    assert notes.losses[-1]['loss_wkd_f'] == 0
    assert {losses['loss_cls'] for losses in notes.losses} == {first['loss_cls']}
    batch = next(iter(batches(12)))
    model = runner.model
    parts = [
        wkd_logit_loss(
            model.layer(batch['inputs']),
            model.distiller.teacher.module(batch['inputs']),
            model.distiller.terms['loss_wkd_l'].loss.cost,
            batch['target'],
            temperature=2.0,
            transport_weight=weight,
        ).item()
        for weight in (0.0, 30.0)
    ]
    assert parts[1] > 2 * parts[0]
    assert [losses['loss_wkd_l'] for losses in notes.losses] == pytest.approx(
        [parts[0] + scale * (parts[1] - parts[0]) for scale in expected], rel=1e-5
    )
    logged = runner.message_hub.get_scalar('train/scale_wkd_l.transport_weight').data[0]
    assert list(logged) == expected


def test_joint_wkd_l_fades_as_a_whole_and_the_teacher_rests_in_the_last_epoch(tmp_path):
    _, notes = run(tmp_path, dict(max_epochs=3), dict(decay_from=0), model=toy(separated=False))
    assert notes.whole == [[scale, scale] for scale in decay(3, 0)]
    assert notes.transport == [30.0] * 3
    assert notes.runs == [1, 2, 2]
    assert [notes.losses[-1][name] for name in TERMS] == [0, 0]


def test_epochs_of_several_iterations(tmp_path):
    _, notes = run(tmp_path, dict(max_epochs=3), dict(terms=['loss_wkd_f'], warm_up=2), size=6)
    assert [scales[1] for scales in notes.whole] == [0.5, 0.5, 1, 1, 1, 1]


@pytest.mark.parametrize('unit', ['epochs', 'iters'])
def test_resumed_scales_are_those_of_the_whole_run(tmp_path, unit):
    hook = dict(decay_from=1, warm_up=3, by_epoch=unit == 'epochs')
    loop = {f'max_{unit}': 6}
    _, whole = run(tmp_path / 'whole', loop, hook)
    middle = tmp_path / 'whole' / f'{unit[:-1]}_3.pth'
    _, rest = run(tmp_path / 'rest', loop, hook, resume=middle)
    assert rest.whole == whole.whole[3:]
    assert rest.transport == whole.transport[3:]
    assert rest.losses == whole.losses[3:]
    assert len({scales[1] for scales in whole.whole}) == 6  # all of them differ


def test_accumulation_trains_as_the_larger_batch(tmp_path):
    small = dict(by_epoch=False, warm_up=4, decay_from=6)
    large = dict(by_epoch=False, warm_up=2, decay_from=3)
    halves, notes = run(
        tmp_path / 'halves', dict(max_iters=12), small, size=6, lr=0.05, accumulate=2
    )
    wholes, other = run(tmp_path / 'wholes', dict(max_iters=6), large, size=12, lr=0.05)
    assert notes.whole == [scales for scales in other.whole for _ in range(2)]
    assert notes.transport == [weight for weight in other.transport for _ in range(2)]
    moved = (wholes.model.layer.weight - toy().layer.weight).abs().max()
    assert moved > 0.05
    for one, two in zip(halves.model.parameters(), wholes.model.parameters()):
        # Six steps of float32 sums in another order.
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-6)


def test_a_last_update_of_fewer_batches_has_the_scale_of_the_last_iteration(tmp_path):
    hook = dict(terms=['loss_wkd_f'], by_epoch=False, decay_from=0)
    _, notes = run(tmp_path, dict(max_iters=5), hook, accumulate=3)
    schedule = TermSchedule(decay_from=0)
    expected = [schedule.at(step, 5) for step in (3, 3, 3, 5, 5)]
    assert [scales[1] for scales in notes.whole] == expected


def test_when_all_terms_have_stopped_the_teacher_does_not_run(tmp_path):
    hook = dict(terms=list(TERMS), by_epoch=False, stop=2)
    _, notes = run(tmp_path, dict(max_iters=4), hook, lr=0.1)
    assert notes.runs == [1, 2, 2, 2]
    assert [losses['loss_wkd_l'] > 0 for losses in notes.losses] == [True, True, False, False]
    assert notes.losses[3]['loss_wkd_l'] == notes.losses[3]['loss_wkd_f'] == 0


def test_two_hooks_may_share_the_terms(tmp_path):
    _, notes = run(
        tmp_path,
        dict(max_epochs=2),
        dict(terms=['loss_wkd_l'], factor=0.5),
        dict(terms=['loss_wkd_l.transport_weight', 'loss_wkd_f'], warm_up=2),
    )
    assert notes.whole == [[0.5, 0.5], [0.5, 1.0]]
    assert notes.transport == [15.0, 30.0]


@pytest.mark.parametrize(
    ('loop', 'hooks', 'error', 'message'),
    [
        (
            dict(max_epochs=1),
            [dict(terms=['loss_wkd'])],
            KeyError,
            r"unknown \['loss_wkd'\]; valid are \['loss_wkd_l', 'loss_wkd_l.transport_weight', "
            r"'loss_wkd_f'\]",
        ),
        (
            dict(max_epochs=1),
            [dict(terms=['loss_wkd_f.grid'])],
            KeyError,
            r"unknown \['loss_wkd_f.grid'\]",
        ),
        (dict(max_iters=4), [dict()], ValueError, 'has no epochs: set by_epoch=False'),
        (dict(max_epochs=4), [dict(decay_from=4)], ValueError, 'step 4, got 4'),
        (
            dict(max_epochs=1),
            [dict(), dict(terms=['loss_wkd_f'])],
            ValueError,
            r"\['loss_wkd_f'\] are scaled by two TermScheduleHooks",
        ),
    ],
)
def test_mistakes_are_errors_before_the_first_iteration(tmp_path, loop, hooks, error, message):
    model = toy()
    with pytest.raises(error, match=message):
        run(tmp_path, loop, *hooks, model=model)
    assert model.teacher_runs == 0


def test_terms_are_a_list():
    with pytest.raises(TypeError, match="terms must be a list of names, got 'loss_wkd_l'"):
        HOOKS.build(dict(type='TermScheduleHook', terms='loss_wkd_l'))
    with pytest.raises(TypeError, match=r'terms must be a list of names, got 5'):
        HOOKS.build(dict(type='TermScheduleHook', terms=5))
    with pytest.raises(ValueError, match=r'terms must name at least one term, got \[\]: None'):
        HOOKS.build(dict(type='TermScheduleHook', terms=[]))


def test_a_model_without_terms(tmp_path):
    model = ToyModel({})
    del model.distiller
    runner = type('Runner', (), dict(model=model))
    assert HOOKS.build(dict(type='TermScheduleHook', decay_from=1))._find(runner) == []
    with pytest.raises(KeyError, match=r'valid are \[\]'):
        HOOKS.build(dict(type='TermScheduleHook', terms=['loss_wkd_l']))._find(runner)
