"""Training images that grow: sizes by epoch and by iteration, and what does not fit."""

import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from wkd_det.classification.data import ImagePreprocessor
from wkd_det.hooks.image_size import ImageSizeHook
from wkd_det.testing import classifier_config, image_batch


class Sides(Hook):
    """Notes the side of the images of each step."""

    priority = 'LOW'

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        runner.model.network.register_forward_pre_hook(
            lambda _, inputs: self.seen.append((runner.model.training, inputs[0].shape[-1]))
        )


def train(tmp_path, train_cfg, hook, **options):
    samples = list(zip(*image_batch(8)))
    sides = Sides()
    loader = DataLoader(samples, batch_size=4)
    runner = Runner(
        model=classifier_config('resnet8'),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[hook, sides],
        default_scope='mmengine',
        experiment_name=tmp_path.name,
        **options,
    )
    runner.train()
    return sides.seen


def test_sides_by_epoch_in_training_alone(tmp_path):
    hook = dict(type='ImageSizeHook', sizes=[(0, 16), (1, 24), (3, 32)])
    validation = dict(
        val_dataloader=DataLoader(list(zip(*image_batch(4))), batch_size=4),
        val_cfg=dict(),
        val_evaluator=dict(type='TopKAccuracy', topk=(1,)),
    )
    seen = train(tmp_path, dict(by_epoch=True, max_epochs=4), hook, **validation)
    trained = [side for training, side in seen if training]
    assert trained == [16] * 2 + [24] * 4 + [32] * 2
    assert {side for training, side in seen if not training} == {32}


def test_sides_by_iteration(tmp_path):
    hook = dict(type='ImageSizeHook', sizes=[[0, 16], [3, 32]], by_epoch=False)
    seen = train(tmp_path, dict(by_epoch=False, max_iters=4), hook)
    assert [side for _, side in seen] == [16, 16, 16, 32]


def test_images_are_resized_behind_normalisation_both_views_alike():
    preprocessor = ImagePreprocessor(mean=[3.0], std=[2.0])
    images, labels = image_batch(4)
    parts = dict(images=images, labels=labels, strong=images.flip(0))
    preprocessor.train_size = 20
    small, targets = preprocessor(parts, training=True)
    expected = F.interpolate((images.float() - 3) / 2, size=20, mode='bilinear', antialias=True)
    assert torch.equal(small, expected)
    assert torch.equal(targets.strong, expected.flip(0))
    assert preprocessor(parts)[0].shape[-1] == 32
    preprocessor.train_size = 32
    assert torch.equal(preprocessor(parts, training=True)[0], (images.float() - 3) / 2)


@pytest.mark.parametrize(
    'sizes',
    [
        [],
        [(1, 16)],
        [(0, 16), (0, 32)],
        [(0, 16, 3)],
        [(0, 16), (3,)],
        5,
        [5],
        'ab',
        [('a', 5)],
        [(0, 16), (1.5, 32)],
    ],
)
def test_wrong_sizes(sizes):
    message = (
        'sizes must be pairs of a first epoch and a side, the first epochs 0 and rising, '
        f'got {sizes!r}'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        ImageSizeHook(sizes=sizes)


def test_a_side_that_is_no_integer():
    message = 'the side from 0 on must be an integer of at least 1, got 0'
    with pytest.raises(ValueError, match=f'^{message}$'):
        ImageSizeHook(sizes=[(0, 0)])


def test_epochs_in_a_loop_of_iterations(tmp_path):
    hook = dict(type='ImageSizeHook', sizes=[(0, 16)])
    message = 'ImageSizeHook: the loop counts iterations: set by_epoch=False'
    with pytest.raises(ValueError, match=f'^{message}$'):
        train(tmp_path, dict(by_epoch=False, max_iters=1), hook)


def test_a_preprocessor_that_does_not_resize():
    model = SimpleNamespace(data_preprocessor=SimpleNamespace())
    runner = SimpleNamespace(model=model, train_loop=None)
    message = (
        'ImageSizeHook: SimpleNamespace has no train_size; ImagePreprocessor of classifiers has'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        ImageSizeHook(sizes=[(0, 16)]).before_train(runner)
