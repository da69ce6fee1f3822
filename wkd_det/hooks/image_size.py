"""Training images that grow from epoch to epoch: the hook that sets their side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from wkd_det.ops.checks import check_booleans, check_integers, is_integer
from wkd_det.runtime.state import unwrapped


class ImageSizeHook(Hook):
    """Trains a classifier on smaller images first.

    ``dict(type='ImageSizeHook', sizes=[(0, 20), (4, 24), (9, 32)])`` trains on 20 x 20 pixels up
    to epoch 4, on 24 x 24 up to epoch 9, then on 32 x 32. A step costs about the square of the
    side. Images are resized on the device, behind normalisation; a teacher at work sees the same.
    Stored logits and vectors of a teacher stay those of the whole images, and stored maps are
    refused. Images of validation keep their size.

    The size depends on the epoch alone, so it is right after a resume.

    Args:
        sizes: Pairs of a first epoch, counted from 0, and the side in pixels; the first epoch is 0
            and each later one larger.
        by_epoch: Whether epochs or iterations are counted.

    Raises:
        ValueError: If ``sizes`` is no such list or ``by_epoch`` no boolean; when training starts,
            if epochs are asked for in an iteration-based loop, or the model's preprocessor has no
            ``train_size``.

    References: Howard, Training Imagenet in 3 hours for 25 minutes, fast.ai 2018 (progressive
        sizes).
    """

    def __init__(self, *, sizes: Sequence[tuple[int, int]], by_epoch: bool = True) -> None:
        check_booleans(by_epoch=by_epoch)
        listed = isinstance(sizes, Sequence) and all(map(_is_pair, sizes))
        pairs = [tuple(pair) for pair in sizes] if listed else []
        firsts = [first for first, _ in pairs]
        rising = all(first < second for first, second in zip(firsts, firsts[1:]))
        if not pairs or firsts[0] != 0 or not rising:
            raise ValueError(
                'sizes must be pairs of a first epoch and a side, the first epochs 0 and rising, '
                f'got {sizes!r}'
            )
        for pair in pairs:
            check_integers(**{f'the side from {pair[0]} on': pair[1]})
        self.sizes = pairs
        self.by_epoch = by_epoch

    def before_train(self, runner: Any) -> None:
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError('ImageSizeHook: the loop counts iterations: set by_epoch=False')
        preprocessor = _preprocessor(runner)
        if not hasattr(preprocessor, 'train_size'):
            raise ValueError(
                f'ImageSizeHook: {type(preprocessor).__name__} has no train_size; '
                'ImagePreprocessor of classifiers has'
            )

    def before_train_epoch(self, runner: Any) -> None:
        if self.by_epoch:
            self._set(runner, runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if not self.by_epoch:
            self._set(runner, runner.iter)

    def _set(self, runner: Any, step: int) -> None:
        _preprocessor(runner).train_size = [side for first, side in self.sizes if first <= step][-1]


def _is_pair(value: Any) -> bool:
    """Whether a value is a first epoch and something else."""
    return isinstance(value, Sequence) and len(value) == 2 and is_integer(value[0], 0)


def _preprocessor(runner: Any) -> Any:
    return unwrapped(runner.model).data_preprocessor
