"""Going on from a checkpoint gives the bits of a run that was never stopped."""

import copy
import re
import signal
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

import tiny_training
from commands import run_apart
from sameness import same
from tiny_training import config_of, prepare, run_of, train

STEPS, STOP = 8, 4


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Six images, so that an epoch of three steps ends before and after the stop."""
    path = tmp_path_factory.mktemp('resume')
    prepare(path, images=6)
    return path


def interrupted_and_not(folder, change):
    """Last checkpoints of a run, and of one that goes on from the first one's middle."""
    name = change.__name__
    config = config_of(
        folder, folder / f'{name}_whole', STEPS, STOP,
        **{'default_hooks.checkpoint.max_keep_ckpts': -1},
    )  # fmt: skip
    change(config)
    train(config)
    middle, last = sorted(Path(config.work_dir).glob('*.pth'))
    config.work_dir = str(folder / f'{name}_resumed')
    torch.manual_seed(1)  # what the process did before must not matter
    train(config, resume=middle)
    return [
        torch.load(last.parents[1] / f'{name}_{kind}' / last.name, weights_only=True)
        for kind in ('whole', 'resumed')
    ]


SCHEDULE = dict(type='TermScheduleHook', by_epoch=False, warm_up=2, decay_from=3)


def epochs(config):
    """The same by epochs of three steps: the checkpoints are those of epochs 1 and 2."""
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
    config.default_hooks.checkpoint.update(by_epoch=True, interval=1)
    config.log_processor.by_epoch = True
    config.custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]


def workers(config):
    config.train_dataloader.num_workers = 2
    config.custom_hooks = [SCHEDULE, dict(type='EMAHook')]


def persistent(config):
    """As MMDetection's COCO configs: workers that live from epoch to epoch."""
    epochs(config)
    config.train_dataloader.update(num_workers=2, persistent_workers=True)


def switching(config):
    """As RTMDet's schedule: a hook changes the pipeline and starts the workers anew."""
    persistent(config)
    pipeline = [*config.train_dataloader.dataset.pipeline]
    pipeline.insert(-1, dict(type='PhotoMetricDistortion'))
    config.custom_hooks += [
        dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=pipeline)
    ]


def governed(config):
    """Two teachers, weights by gradients, and a hook that logs them."""
    share = dict(type='GradientShare', share=0.3, every=3, momentum=0.5, warm_up=6)
    model = config.model
    model.teachers = dict(one=model.pop('teacher'))
    model.teachers.other = copy.deepcopy(model.teachers.one)
    for term, teacher in ((model.distill.loss_wkd_l, 'one'), (model.distill.loss_wkd_f, 'other')):
        term.teacher = teacher
        term.loss.loss_weight = share
    log = dict(type='GradientNormHook', interval=2)
    config.custom_hooks = [SCHEDULE, log, dict(type='EMAHook')]


@pytest.mark.parametrize('change', [workers, epochs, persistent, switching, governed])
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(folder, change):
    whole, resumed = interrupted_and_not(folder, change)
    assert any('loss_wkd_f.connectors' in key for key in whole['state_dict'])
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'random_states'):
        assert same(whole.get(key), resumed.get(key)), key
    logs = [content['message_hub']['log_scalars'] for content in (whole, resumed)]
    names = [name for name in logs[0] if re.search('loss|scale|share|weight|grad|train/lr', name)]
    assert {'train/loss', 'train/loss_wkd_f', 'train/scale_wkd_f', 'train/lr'} <= set(names)
    for name in names:
        assert same(logs[0][name].data, logs[1][name].data), name
    scales = logs[0]['train/scale_wkd_f'].data[0]
    assert len(set(scales.tolist())) > 1


FIT = dict(tap='neck', connector=dict(type='ConvConnector'), loss=dict(type='FitNetLoss'))


@pytest.fixture(scope='module')
def begun(folder):
    """Checkpoint of step 2, of the terms wkd_l (a class cost) and wkd_f (connectors)."""
    config = config_of(folder, folder / 'begun', 2, 2)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    train(config)
    return folder / 'begun/iter_2.pth'


NEEDS = 'resuming needs the terms that the checkpoint was trained with: '
INSTEAD = (
    r'\. To begin a new schedule with its weights, set load_from to the checkpoint and leave out '
    'resume$'
)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d.update(loss_fit=FIT), 'the checkpoint lacks weights of loss_fit'),
        (
            lambda d: d.update(loss_fit=FIT, loss_more=FIT),
            'the checkpoint lacks weights of loss_fit, loss_more',
        ),
        (lambda d: d.pop('loss_wkd_f'), 'the model lacks weights of loss_wkd_f'),
        (
            lambda d: d.update(loss_fit=d.pop('loss_wkd_f')),
            'the checkpoint lacks weights of loss_fit',  # as many parameters, of another term
        ),
        (
            lambda d: (d.pop('loss_wkd_f'), d.update(loss_fit=FIT)),
            'the checkpoint lacks weights of loss_fit and the model lacks weights of loss_wkd_f',
        ),
        (lambda d: d.clear(), 'the model lacks weights of loss_wkd_f, loss_wkd_l'),
        (lambda d: d.pop('loss_wkd_l'), None),  # its class cost is no parameter
    ],
    ids=['one more', 'two more', 'one less', 'renamed', 'another', 'plain', 'no parameters'],
)
def test_resuming_with_other_terms(folder, begun, change, message):
    config = config_of(folder, folder / 'other', 4, 4)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    change(config.model.distill)
    if message is None:
        assert train(config, resume=begun).iter == 4
        return
    with pytest.raises(ValueError, match=f'^{NEEDS}{message}{INSTEAD}'):
        train(config, resume=begun)


def test_weights_of_other_terms_begin_a_new_schedule(folder, begun):
    config = config_of(folder, folder / 'loaded', 1, 1)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.model.distill.loss_fit = FIT
    config.load_from = str(begun)
    config.experiment_name = 'loaded'
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 1


@pytest.mark.slow
def test_with_the_hook_of_mmengine_it_is_another_run(folder):
    """Why the hook is there: sampling of RoIs and flips go on from another random state."""

    def plain(config):
        config.default_hooks.checkpoint.type = 'CheckpointHook'

    whole, resumed = interrupted_and_not(folder, plain)
    assert 'random_states' not in whole
    assert not same(whole['state_dict'], resumed['state_dict'])


def script(folder, *options, code=0):
    return run_apart(tiny_training.__file__, folder, *options, code=code, **tiny_training.SCRIPT)


def test_kill_in_the_midst_of_a_write_leaves_the_checkpoint_before(folder):
    work = folder / 'work'
    options = ['--steps', '6', '--interval', '2']
    script(folder, *options, '--kill-in-write', '2', code=-signal.SIGKILL)
    assert (work / '.iter_4.pth.partial').is_file()  # killed when it had no name yet
    assert [path.name for path in work.glob('*.pth')] == ['iter_2.pth']  # max_keep_ckpts=1
    assert (work / 'last_checkpoint').read_text() == str(work / 'iter_2.pth')
    config = run_of(folder, steps=6, interval=2)
    train(config, resume=True)  # as --resume: the last checkpoint in the folder
    log = next(iter(sorted(work.glob('*/*.log'))[::-1])).read_text()
    assert 'resumed epoch: 0, iter: 2' in log
    assert [path.name for path in work.glob('*.pth')] == ['iter_6.pth']
    assert not list(work.glob('.*.partial'))
    assert (work / 'last_checkpoint').read_text() == str(work / 'iter_6.pth')
